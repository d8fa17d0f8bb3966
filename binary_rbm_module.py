"""Train a binary RBM with MXNet's Module API: `python binary_rbm_module.py --help`."""

import os
import sys

if __name__ == "__main__":
    from gluon_rbm.backend import interruption

    interruption.quiet()

from binary_rbm import binary_rbm_symbol
from gluon_rbm.backend.framework import mx
from gluon_rbm.training import binary_training, optimization

__all__ = ["ModuleLearner", "main"]


class ModuleLearner(binary_training.Learner):
    """An `mx.mod.Module` of the RBM symbol (see `gluon_rbm.training.binary_training`)."""

    def __init__(self, args, arrays, context, parts=1):
        num_visible = arrays["visible_layer_bias"].shape[0]
        symbol = binary_rbm_symbol(**binary_training.learner_settings(args, parts))
        self._module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=context)
        self._module.bind(data_shapes=[("data", (args.batch_size // parts, num_visible))])
        auxiliary = symbol.list_auxiliary_states()
        self._module.init_params(
            arg_params={name: arrays[name] for name in arrays if name not in auxiliary},
            aux_params={name: arrays[name] for name in auxiliary},
        )
        learned = [name for name in symbol.list_arguments() if name in arrays]
        self.parameter_names = dict(enumerate(learned))
        optimizer = optimization.make_optimizer(
            args, rescale_grad=parts / args.batch_size, sym=symbol, param_idx2name=self.parameter_names
        )
        self._module.init_optimizer(kvstore=None, optimizer=optimizer)  # warns of any other factor
        optimizer.rescale_grad = 1 / (parts * args.batch_size)
        self.updater = self._module._updater  # there is no public way to a module's state but pickle

    def backward(self, batch):
        self._module.forward(mx.io.DataBatch([batch]), is_train=True)
        self._module.backward()
        return self._module.get_outputs()[0]

    def update(self):
        self._module.update()

    def gradients(self):
        return {name: self._executor.grad_dict[name] for name in self.parameter_names.values()}

    def arrays(self):
        parameters = {name: self._executor.arg_dict[name] for name in self.parameter_names.values()}
        return {**parameters, **self._executor.aux_dict}

    @property
    def _executor(self):
        return self._module._exec_group.execs[0]  # live arrays; get_params() returns copies


def main(argv=None):
    return binary_training.main(argv, os.path.basename(__file__), "module", ModuleLearner)


if __name__ == "__main__":
    sys.exit(main())
