"""Optimisers around optimisers, written out as the libraries that are known for them do it."""

import functools

import torch
from torch import nn


def momentum_sgd(parameters):
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-2)


class Accelerated(torch.optim.Optimizer):
    """As accelerate's AcceleratedOptimizer: an Optimizer that never calls Optimizer.__init__.

    With a scaler it exchanges the inner optimiser's `step` for the time of a step.
    """

    def __init__(self, optimizer, scaler=None):
        self.optimizer, self.scaler = optimizer, scaler
        self.original = optimizer.step
        self.patched = functools.partial(self._noted, optimizer.step)

    def _noted(self, step, *args, **kwargs):
        self.called = True
        return step(*args, **kwargs)

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self, closure=None):
        if self.scaler is None:
            return self.optimizer.step(closure)
        self.optimizer.step = self.patched
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.step = self.original
        return None


class Lookahead:
    """k steps forward, 1 step back (Zhang et al. 2019); it writes through `.data`, as the known codes do."""

    def __init__(self, optimizer, k=2, alpha=0.5):
        self.optimizer, self.k, self.alpha, self.count = optimizer, k, alpha, 0
        self.param_groups = optimizer.param_groups
        self.slow = [[p.data.clone() for p in g["params"]] for g in self.param_groups]

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        self.count += 1
        if self.count % self.k == 0:
            for group, slow in zip(self.param_groups, self.slow, strict=True):
                for p, s in zip(group["params"], slow, strict=True):
                    s.add_(p.data - s, alpha=self.alpha)
                    p.data.copy_(s)
        return loss


class Averaging(torch.optim.SGD):
    """A subclass whose step ends with the running average in place of the weights (EMA swapped in)."""

    def __init__(self, parameters):
        super().__init__(parameters, 0.1, momentum=0.9)
        self.mean = [p.detach().clone() for p in self.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for p, mean in zip(self.param_groups[0]["params"], self.mean, strict=True):
            mean.lerp_(p, 0.3)
            p.copy_(mean)


class Sharp(torch.optim.Optimizer):
    """SAM (Foret et al. 2021): its two half-steps are what users call."""

    def __init__(self, parameters):
        parameters = list(parameters)
        super().__init__(parameters, {})
        self.base_optimizer = momentum_sgd(self.param_groups)

    @torch.no_grad()
    def first_step(self):
        for p in self.param_groups[0]["params"]:
            self.state[p]["back"] = p.detach().clone()
            p.add_(p.grad.sign(), alpha=0.01)

    @torch.no_grad()
    def second_step(self):
        for p in self.param_groups[0]["params"]:
            p.copy_(self.state[p]["back"])
        self.base_optimizer.step()


class Plain:
    """Signed gradient steps by hand; nothing of torch.optim."""

    def __init__(self, parameters):
        self.param_groups = [{"params": list(parameters)}]

    def zero_grad(self):
        for p in self.param_groups[0]["params"]:
            p.grad = None

    def step(self, closure=None):
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.sub_(0.01 * p.grad.sign() + 0.01)  # it moves what has no gradient as well


class Delegating:
    """Has no `step` in its class; every attribute is the inner optimiser's."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Forwarding(Delegating):
    """Attributes that are set are set on the inner optimiser (as wrapt's proxies do)."""

    def __setattr__(self, name, value):
        if name == "_inner":
            object.__setattr__(self, name, value)
        else:
            setattr(self._inner, name, value)


class Lightning:
    """As lightning's LightningOptimizer: a class made for the inner one, with that one's own attributes."""

    def __init__(self, optimizer):
        self.__dict__ = {name: value for name, value in vars(optimizer).items() if name != "step"}
        self.__class__ = type("Lightning", (type(self), type(optimizer)), {})
        self._optimizer = optimizer

    def step(self, closure=None):
        self._optimizer.step(closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.add_(0.01)  # as a callback may


class Several:
    """Several optimisers behind one step."""

    def __init__(self, *optimizers):
        self.optimizers = list(optimizers)

    def zero_grad(self):
        for one in self.optimizers:
            one.zero_grad()

    def step(self):
        for one in self.optimizers:
            one.step()


class Slots:
    """An object whose attributes are fixed."""

    __slots__ = ("param_groups",)

    def __init__(self, parameters):
        self.param_groups = [{"params": list(parameters)}]

    def step(self):
        pass


class Property(Plain):
    """`step` is a property, so that the object cannot have another one."""

    @property
    def step(self):
        return lambda: None


def backward(model, optimizer, x, y):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
