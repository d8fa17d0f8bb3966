import numpy as np
import pytest
import reference
from tqdm import tqdm

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import annealing, schedules, state_file
from gluon_rbm.likelihood.state_file import Progress, StateFile
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs


def parameters(rbm, ctx=None):
    return Parameters(*(mx.nd.array(array, ctx=ctx) for array in rbm))


# --- Schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [schedules.linear, schedules.three_piece])
@pytest.mark.parametrize("num_distributions", [1, 2, 7, 1000])
def test_schedules_rise_from_0_to_1(schedule, num_distributions):
    betas = schedule(num_distributions)
    assert len(betas) == num_distributions + 1 and betas[0] == 0 and betas[-1] == 1
    assert (np.diff(betas) > 0).all()


def test_the_three_pieces_of_salakhutdinov_and_murray():
    expected = np.r_[np.linspace(0, 0.5, 501), np.linspace(0.5, 0.9, 4001)[1:], np.linspace(0.9, 1, 10001)[1:]]
    np.testing.assert_allclose(schedules.three_piece(14500), expected, atol=1e-12)


def losses(rbm, betas):
    """Variance of each step's log-weight, over exact samples.

    The larger it is, the more effective sample size the step loses.
    """
    a, b, w = rbm
    visible, result = reference.states(len(a)), []
    scores = [beta * visible @ a + np.logaddexp(0, beta * (b + visible @ w)).sum(axis=1) for beta in betas]
    for low, high in zip(scores[:-1], scores[1:]):
        probability, step = np.exp(low - reference.log_sum_exp(low)), high - low
        result.append(probability @ step**2 - (probability @ step) ** 2)
    return np.array(result)


def test_the_adaptive_schedule_loses_as_much_at_every_step(engine, seed, generator):
    # This RBM changes from disordered to ordered states in a narrow range of beta.
    rbm = (np.full(6, -1.0), np.full(4, -1.0), np.full((6, 4), 3.0))
    visible = mx.nd.array(generator.integers(0, 2, (2000, 6)))
    betas = schedules.adaptive(40, parameters(rbm), visible, mx.nd.zeros(6), [seed], engine)
    assert betas[0] == 0 and betas[-1] == 1 and (np.diff(betas) > 0).all() and len(betas) == 41
    even, adapted = losses(rbm, schedules.linear(40)), losses(rbm, betas)
    assert even.max() > 20 * np.median(even)
    assert adapted.max() < 2 * np.median(adapted)
    assert adapted.sum() < 0.7 * even.sum()


def test_the_adaptive_schedule_is_linear_if_nothing_varies(engine, seed):
    rbm = (np.zeros(3), np.zeros(2), np.zeros((3, 2)))
    betas = schedules.adaptive(10, parameters(rbm), mx.nd.zeros((5, 3)), mx.nd.zeros(3), [seed], engine)
    np.testing.assert_allclose(betas, np.linspace(0, 1, 11), atol=1e-12)


# --- Annealing along a schedule -------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.fixture
def anneal(engine, seed, generator):
    rbm = parameters(reference.random_rbm(9, 7, generator))
    base, visible = mx.nd.array(generator.normal(size=9)), mx.nd.array(generator.integers(0, 2, (30, 9)))
    betas = {"up": np.linspace(0, 1, 95), "down": np.linspace(1, 0, 95)}

    def run(which, state=None, key=seed, name=None):
        with tqdm(total=94, disable=True) as bar:
            result = annealing.anneal_chains(
                rbm,
                visible,
                betas[which],
                sweeps=2,
                base_visible_bias=base,
                key=[key],
                engine=engine,
                bar=bar,
                state=state,
                name=name or which,
            )
        return [result[0].asnumpy(), result[1]]

    return run


def kill_after(monkeypatch, calls):
    """Let gibbs.anneal_with_weights run `calls` times; the next call raises Killed."""
    whole, left = gibbs.anneal_with_weights, [calls]

    def counted(*args, **settings):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return whole(*args, **settings)

    monkeypatch.setattr(gibbs, "anneal_with_weights", counted)


@pytest.mark.parametrize("which", ["up", "down"])
def test_an_annealing_gives_every_chain_a_weight(anneal, which):
    assert (anneal(which)[1] != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("calls", [0, 1, 3, 6])
def test_a_killed_annealing_resumes_with_the_same_result(anneal, monkeypatch, tmp_path, calls):
    expected = [anneal("up"), anneal("down")]
    monkeypatch.setattr(state_file, "_SECONDS_BETWEEN_SAVES", 0)
    path = tmp_path / "state"
    with monkeypatch.context() as patch:
        kill_after(patch, calls)  # an annealing makes five calls
        with pytest.raises(Killed):
            for which in ("up", "down"):
                anneal(which, StateFile(path))
    done = []
    whole = gibbs.anneal_with_weights
    monkeypatch.setattr(
        gibbs, "anneal_with_weights", lambda *args, **settings: done.append(1) or whole(*args, **settings)
    )
    state = StateFile(path)
    for which, (visible, log_weights) in zip(("up", "down"), expected):
        found = anneal(which, state)
        np.testing.assert_array_equal(found[0], visible)
        np.testing.assert_array_equal(found[1], log_weights)
    assert len(done) == 10 - calls
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state"]


@pytest.mark.parametrize("kind", ["binary", "gaussian"])
def test_a_state_file_keeps_states_as_they_are(kind, generator, tmp_path):
    visible = generator.normal(size=(30, 9)) if kind == "gaussian" else generator.integers(0, 2, (30, 9))
    kept = Progress(3, mx.nd.array(visible), generator.normal(size=30))
    StateFile(tmp_path / "state").keep("up", "meaning", kept, done=True)
    found = StateFile(tmp_path / "state").resume("up", "meaning", Progress(0, mx.nd.zeros((30, 9)), np.zeros(30)))
    assert found.step == 3
    np.testing.assert_array_equal(found.visible.asnumpy(), kept.visible.asnumpy())
    np.testing.assert_array_equal(found.log_weights, kept.log_weights)


def test_the_state_file_is_written_at_intervals_and_at_the_end(anneal, monkeypatch, tmp_path):
    path = tmp_path / "state"
    with monkeypatch.context() as patch:
        kill_after(patch, 4)
        with pytest.raises(Killed):
            anneal("up", StateFile(path))
    assert not path.exists()
    anneal("up", StateFile(path))
    assert path.exists()


def test_a_state_file_of_another_run_is_refused(anneal, tmp_path, seed):
    path = tmp_path / "state"
    anneal("up", StateFile(path))
    for other in ({"key": seed + 1}, {"which": "down", "name": "up"}):
        with pytest.raises(InputError, match="another model or other settings"):
            anneal(**{"which": "up", "state": StateFile(path), **other})


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_state_file_is_refused(anneal, tmp_path, content):
    path = tmp_path / "state"
    anneal("up", StateFile(path))
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match="not a whole state file; choose another"):
        StateFile(path)
