"""The contrastive free energy of an RBM block: the loss of contrastive divergence."""

from __future__ import annotations

from typing import Any

from gluon_rbm.backend.framework import mx
from gluon_rbm.models.rbm_block import RBMBlock, alternate

__all__ = ["ContrastiveFreeEnergy"]


class ContrastiveFreeEnergy(mx.gluon.loss.Loss):
    """Loss L = F(v) - F(v') of each image, in nats, where v' is constant.

    The derivative of its mean is <d/dtheta F> over the data minus that over v'. It is contrastive
    divergence, CD-k, where v' is the data after k sweeps. It is PCD-k where v' are persistent
    chains, which the caller passes.

    A call takes images (batch, ...) and, optionally, v'. These may be any number of rows: every
    image is compared with the mean of their F(v'). The result is (batch,). Once the loss is
    hybridized, call it always with v' or always without.

    Parameters
    ----------
    rbm
        The RBM that learns.
    sweeps
        Number of sweeps k.
    sampled
        Draw v', instead of taking means.
    weight, batch_axis
        As in Gluon's Loss.
    **kwargs
        Further settings of Gluon's Loss, such as prefix.

    Notes
    -----
    CD: Hinton 2002. PCD: Tieleman 2008. Loss: Hwang, Hwang & Jo 2020, with the sign turned so that
    it is minimized.
    """

    def __init__(
        self,
        rbm: RBMBlock,
        sweeps: int = 1,
        sampled: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self.rbm, self._sweeps, self._sampled = rbm, sweeps, sampled

    def forward(self, visible: Any, *model_visible: Any) -> Any:
        """Return the loss of each image.

        Parameters
        ----------
        visible
            Images v, as in `RBMBlock.as_visible`.
        *model_visible
            Optionally one array of v', as in `RBMBlock.as_visible`.

        Returns
        -------
        NDArray or symbol (batch,)
            Losses in nats.
        """
        return super().forward(*map(self.rbm.as_visible, (visible, *model_visible)))

    def hybrid_forward(self, F: Any, visible: Any, model_visible: Any = None) -> Any:
        """Return the loss of each image.

        Parameters
        ----------
        F
            Operators: mx.nd or mx.sym.
        visible
            Images v, as in `forward`.
        model_visible
            Rows v'; None: the images after the sweeps.

        Returns
        -------
        NDArray or symbol (batch,)
            Losses in nats.
        """
        return self.of(F, visible, model_visible)[0]

    def of(self, F: Any, visible: Any, model_visible: Any = None, detach: bool = True) -> tuple[Any, Any]:
        """Return the loss of each image, and the hidden layer from which v' continues.

        Gradients are blocked at x, not at h: else MXNet would compute derivatives of 0 from h to x.

        Parameters
        ----------
        F, visible, model_visible
            As in `hybrid_forward`.
        detach
            Whether the hidden layer is constant for autograd.

        Returns
        -------
        loss : NDArray or symbol (batch,)
            Losses in nats.
        hidden : NDArray or symbol (batch, *rbm.hidden_shape)
            Means, or samples, of h given the images.
        """
        rbm, units = self.rbm, self.rbm.hidden_units
        x = rbm.hidden_input(visible, units.slope)
        how = units.standard.sample if self._sampled else units.standard.mean
        hidden = how(F, F.BlockGrad(x) if detach else x)
        if model_visible is None:
            model_visible = alternate(rbm, visible, self._sweeps, self._sampled, hidden=hidden)
            model = rbm.free_energy(model_visible)
        else:
            model = F.mean(rbm.free_energy(F.BlockGrad(model_visible)), keepdims=True)
        loss = F.broadcast_sub(rbm._free_energy(visible, x), model)
        return loss if self._weight is None else loss * self._weight, hidden
