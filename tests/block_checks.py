"""Names, modes of execution and gradients, for the tests of all kinds of blocks."""

from gluon_rbm.backend.framework import mx

LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
MODES = {"imperative": None, "hybridized": {}, "static": {"static_alloc": True, "static_shape": True}}


def array(values, ctx, dtype="float32"):
    return mx.nd.array(values, ctx=ctx, dtype=dtype)


def gradients(rbm, loss):
    with mx.autograd.record():
        value = loss()
    value.backward()
    return [getattr(rbm, name).grad().asnumpy() for name in LEARNED]
