"""The on-line loop: the compiled step against autograd, the same bits after a resume, and the paper's figures."""

import dataclasses
import io
import os
import warnings

import pytest
import torch

from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.errors import DataError, InputError, TrainingError
from lenet_zoo.models.lenet5_classic import LeNet5Classic
from lenet_zoo.models.lenet5_modern import LeNet5Modern
from lenet_zoo.paper1998 import online
from lenet_zoo.paper1998.compiled import load_compiled_step
from lenet_zoo.paper1998.distortions import Distortions
from lenet_zoo.paper1998.losses import MAPLoss, PenaltyLoss
from lenet_zoo.paper1998.online import SCHEDULE, OnlineTraining, initialize
from lenet_zoo.paper1998.sdlm import curvature

LOSSES = [PenaltyLoss(), MAPLoss(1.0)]


@pytest.fixture(scope="module")
def mnist():
    try:
        return load_dataset("mnist", train=True)
    except DataError as error:
        pytest.skip(f"needs MNIST: {error}")


def fresh(seed: int = 0) -> LeNet5Classic:
    model = LeNet5Classic()
    initialize(model, seed)
    return model


def needs_compiler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if load_compiled_step() is None:
            pytest.skip("needs a C++ compiler")


# ------------------------------------------------------------------------------------------------------------- step


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_compiled_step_is_autograd_and_sdlm_within_rounding(blobs, loss):
    needs_compiler()
    models, reports = [], []
    for compiled in (True, False):
        model = fresh()
        # 5e-4 moves the weights far in 600 updates, and rounding would grow with them in a less stable computation
        run = OnlineTraining(model, *blobs, loss=loss, schedule=(5e-4,), compiled=compiled)
        assert run.compiled == compiled
        reports.append(run.run_pass())
        models.append(model)
    start = fresh()
    for (name, a), b, before in zip(
        models[0].named_parameters(), models[1].parameters(), start.parameters(), strict=True
    ):
        assert (a - before).abs().max() > 1e-4, f"{name} was not trained"
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert reports[0].loss == pytest.approx(reports[1].loss, rel=1e-5)
    assert reports[0].error == reports[1].error
    assert reports[0].patterns == 600


def test_the_penalties_it_reports_are_those_before_the_update(blobs):
    images, labels = blobs
    model = fresh()
    run = OnlineTraining(model, images, labels, schedule=(1e-12,))  # steps too small to change the outputs
    report = run.run_pass()
    logits = fresh()((images.float() / 255 * 1.275 - 0.1).unsqueeze(1))
    assert report.loss == pytest.approx(PenaltyLoss()(logits, labels).item(), rel=1e-5)
    assert report.error == pytest.approx(float((logits.argmax(1) != labels).float().mean()))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_training_learns(blobs, loss):
    run = OnlineTraining(fresh(), *blobs, loss=loss, schedule=(5e-4,) * 4)
    reports = [run.run_pass() for _ in range(4)]
    assert reports[-1].error < 0.01 < 0.03 < reports[0].error
    assert reports[-1].loss < reports[0].loss / 5
    assert [r.number for r in reports] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-compiler", r"no C\+\+ compiler found \(CXX=no-such-compiler\); training goes on"),
        (None, r"cannot compile lecun1998\.cpp: cxx: out of order; training goes on"),
    ],
    ids=["none", "broken"],
)
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell script")
def test_without_a_compiler_training_goes_on_with_a_warning(blobs, monkeypatch, broken_compiler, compiler, message):
    images, labels = blobs[0][:150], blobs[1][:150]
    monkeypatch.setenv("CXX", compiler or broken_compiler)
    load_compiled_step.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=message):
            run = OnlineTraining(fresh(), images, labels, schedule=(5e-4,), curvature_patterns=100)
    finally:
        load_compiled_step.cache_clear()
    assert not run.compiled
    expected = OnlineTraining(fresh(), images, labels, schedule=(5e-4,), curvature_patterns=100, compiled=False)
    assert run.run_pass() == expected.run_pass()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell script")
def test_the_compiler_may_be_a_command_of_several_words(monkeypatch, broken_compiler):
    monkeypatch.setenv("CXX", f"{broken_compiler} -m64")
    load_compiled_step.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"/cxx -m64 cannot compile lecun1998\.cpp: cxx: out of order"):
        assert load_compiled_step() is None
    load_compiled_step.cache_clear()


# ------------------------------------------------------------------------------------------------------------ state


@pytest.mark.parametrize(
    ("compiled", "distortions"),
    [(True, None), (True, Distortions(copies=2)), (False, Distortions(copies=2))],
    ids=["compiled", "compiled-distorted", "autograd-distorted"],
)
def test_a_resumed_run_ends_in_the_same_bits(blobs, monkeypatch, distortions, compiled):
    if compiled:
        needs_compiler()
    monkeypatch.setattr(online, "BLOCK", 60)
    images, labels = blobs[0][:150], blobs[1][:150]
    options = dict(seed=5, schedule=(5e-4, 2e-4), loss=MAPLoss(2.0), curvature_patterns=100)

    def run_of(model):
        return OnlineTraining(model, images, labels, distortions=distortions, compiled=compiled, **options)

    undisturbed = run_of(fresh())
    reports = [undisturbed.run_pass(), undisturbed.run_pass()]
    assert undisturbed.finished

    # killed after every block: saved as bytes, and taken up by a new process's objects
    run = run_of(fresh())
    resumed_reports = []
    blocks = 0
    while not run.finished:
        report = run.run_pass(on_block=lambda _: True)
        if report.patterns == 150:
            resumed_reports.append(report)
        buffer = io.BytesIO()
        torch.save(run.state_dict(), buffer)
        run = run_of(fresh(seed=99))
        run.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
        blocks += 1
    assert blocks == 6
    assert resumed_reports == reports
    for (name, a), b in zip(undisturbed.model.named_parameters(), run.model.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(blobs):
    weights = []
    for seed in (1, 1, 2):
        run = OnlineTraining(fresh(), *blobs, seed=seed, schedule=(5e-4,))
        run.run_pass()
        weights.append(run.model.C5.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_hook_sees_growing_blocks_and_can_stop(blobs, monkeypatch):
    monkeypatch.setattr(online, "BLOCK", 250)
    run = OnlineTraining(fresh(), *blobs, schedule=(5e-4,))
    seen = []
    run.run_pass(on_block=lambda report: seen.append(report.patterns))
    assert seen == [250, 500, 600]
    assert run.finished
    with pytest.raises(TrainingError, match="all 1 passes are done: there is nothing left to train"):
        run.run_pass()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(seed=1), "the saved run has seed=0, this one 1"),
        (dict(loss=MAPLoss(3.0)), r"the saved run has loss=PenaltyLoss\(\), this one MAPLoss\(j=3\)"),
        (dict(schedule=(1e-4,)), r"the saved run has schedule=\[0\.0005\], this one \[0\.0001\]"),
        (dict(mu=0.5), r"the saved run has mu=0\.02, this one 0\.5"),
        (dict(distortions=Distortions()), "the saved run has distortions=None"),
    ],
)
def test_the_state_of_another_run_is_refused(blobs, change, message):
    state = OnlineTraining(fresh(), *blobs, schedule=(5e-4,)).state_dict()
    other = OnlineTraining(fresh(), *blobs, **{"schedule": (5e-4,), **change})
    with pytest.raises(TrainingError, match=message):
        other.load_state_dict(state)


def test_what_an_earlier_version_did_not_know_counts_as_at_its_default(blobs):
    state = OnlineTraining(fresh(), *blobs, distortions=Distortions()).state_dict()
    del state["run"]["mu"], state["run"]["distortions"]["slant"]
    OnlineTraining(fresh(), *blobs, distortions=Distortions()).load_state_dict(state)
    for changed in (dict(mu=0.5), dict(distortions=Distortions(slant=0.3))):
        other = OnlineTraining(fresh(), *blobs, **{"distortions": Distortions(), **changed})
        with pytest.raises(TrainingError, match=f"^the saved run has {next(iter(changed))}="):
            other.load_state_dict(state)


def test_resuming_with_another_step_says_that_rounding_will_differ(blobs):
    needs_compiler()
    state = OnlineTraining(fresh(), *blobs).state_dict()
    with pytest.warns(RuntimeWarning, match="differ in the compiled step"):
        OnlineTraining(fresh(), *blobs, compiled=False).load_state_dict(state)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "autograd"])
def test_numbers_that_are_none_stop_the_run_before_the_hook_sees_them(blobs, compiled):
    if compiled:
        needs_compiler()
    run = OnlineTraining(fresh(), *blobs, schedule=(1e38,), compiled=compiled)
    seen = []
    with pytest.raises(TrainingError, match=r"no longer a finite number, in pass 1 before pattern 600"):
        run.run_pass(on_block=seen.append)
    assert seen == []


# ------------------------------------------------------------------------------------------------------- the recipe


def test_the_schedule_is_the_papers():
    assert len(SCHEDULE) == 20
    assert SCHEDULE == (5e-4,) * 2 + (2e-4,) * 3 + (1e-4,) * 3 + (5e-5,) * 4 + (1e-5,) * 8
    defaults = OnlineTraining(fresh(), torch.zeros(500, 28, 28, dtype=torch.uint8), torch.zeros(500).long())
    assert defaults.optimizer.defaults["mu"] == 0.02
    assert defaults.curvature_patterns == 500
    assert defaults.schedule == SCHEDULE


def test_the_initialisation_stays_in_its_bounds_and_reaches_them():
    for literal, power in ((False, 0.5), (True, 1.0)):
        model = LeNet5Classic()
        initialize(model, 4, literal=literal)
        for layer, fan_in in ((model.C1, 25), (model.C5, 400), (model.F6, 120)):
            bound = 2.4 / fan_in**power
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound * (1 + 1e-6)
            assert not layer.bias.any()
        first, last = model.C3.weight[:3], model.C3.weight[-6:]  # maps of 3 and of 6 inputs
        assert first.abs().max().item() <= 2.4 / 75**power * (1 + 1e-6)
        assert last.abs().max().item() <= 2.4 / 150**power * (1 + 1e-6) < first.abs().max().item()
        assert model.S2.weight.tolist() == [0.25] * 6


def test_the_literal_initialisation_is_dead(blobs):
    """±2.4/F: hardly a trace of the picture reaches F6, and the network does not learn what it else learns at once."""
    images, labels = blobs
    fields = (images[:100].float() / 255 * 1.275 - 0.1).unsqueeze(1)
    spread = {}
    for literal in (False, True):
        model = LeNet5Classic()
        initialize(model, 0, literal=literal)
        spread[literal] = model.forward_head(model.forward_features(fields), pre_logits=True).std(0).mean().item()
    assert spread[True] < spread[False] / 1000
    model = LeNet5Classic()
    initialize(model, 0, literal=True)
    run = OnlineTraining(model, images, labels, schedule=(5e-4,) * 4)
    assert [run.run_pass().error > 0.8 for _ in range(4)] == [True] * 4


def test_the_first_pass_on_mnist_is_near_the_papers(mnist):
    """Step sizes from 7e-5 to 0.016 (p. 42), and a training error that falls as Fig. 5's does."""
    needs_compiler()
    images, labels = mnist.images[:12_000], mnist.labels[:12_000]
    run = OnlineTraining(fresh(), images, labels)
    report = run.run_pass(on_block=lambda report: report.patterns >= 10_000)
    kernels = [s for s in run.optimizer.step_sizes() if s.ndim > 1]
    assert 5e-5 < min(float(s.min()) for s in kernels) < 2e-4
    assert 0.008 < report.largest_step < 0.025
    assert report.smallest_step <= min(float(s.min()) for s in kernels)
    # Fig. 5: 4.89 % over the first 60,000, of which the first 10,000 have most
    assert 0.06 < report.error < 0.2


def test_h_is_estimated_anew_before_each_pass(blobs):
    run = OnlineTraining(fresh(), *blobs, schedule=(5e-4, 5e-4))
    run.run_pass()
    first = [s.clone() for s in run.optimizer.step_sizes()]
    run.run_pass()
    assert not any(torch.equal(a, b) for a, b in zip(first, run.optimizer.step_sizes(), strict=True))


def test_h_is_that_of_equation_8_under_equation_9_too(blobs):
    """Equation 9's own vanishes once the classes are well apart, and the steps would go to η/μ."""
    images, labels = blobs
    model = fresh()
    first = OnlineTraining(model, images, labels, loss=MAPLoss(10.0), schedule=(5e-4,))
    first.run_pass()
    fields = (images.float() / 255 * 1.275 - 0.1).unsqueeze(1)
    ours, theirs = (curvature(model, fields, labels, loss) for loss in (PenaltyLoss(), MAPLoss(10.0)))
    ours, theirs = ([h[p] for p in model.parameters()] for h in (ours, theirs))

    run = OnlineTraining(model, images, labels, loss=MAPLoss(10.0), schedule=(5e-4,), curvature_patterns=600)
    run.run_pass(on_block=lambda _: True)
    for step, h, other in zip(run.optimizer.step_sizes(), ours, theirs, strict=True):
        torch.testing.assert_close(step, 5e-4 / (0.02 + h), rtol=1e-3, atol=1e-9)
        assert other.mean() < h.mean() / 2


def test_every_pass_has_the_same_random_order(blobs):
    run = OnlineTraining(fresh(), *blobs, schedule=(5e-4,) * 2)
    first = run._presented(0, 600)
    run.passes = 1
    assert torch.equal(run._presented(0, 600), first)
    assert sorted(first.tolist()) == list(range(600))
    assert first.tolist() != list(range(600))


# ----------------------------------------------------------------------------------------------------------- errors


def test_other_networks_are_refused(blobs):
    with pytest.raises(TrainingError, match="the 1998 method trains lenet5_classic with 1 channel and 10 classes"):
        OnlineTraining(LeNet5Modern(), *blobs)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="the 1998 method trains lenet5_classic with 1 channel and 10 classes"):
        OnlineTraining(LeNet5Classic(num_classes=26), *blobs)
    with pytest.raises(TrainingError, match=r"on the CPU in float32: move the model there"):
        OnlineTraining(LeNet5Classic().double(), *blobs)
    with pytest.raises(TrainingError, match="feeds pictures of 28×28"):
        OnlineTraining(LeNet5Classic(pad=0), *blobs)
    with pytest.raises(TrainingError, match=r"knows no dropout: create lenet5_classic without drop_rate=0\.5"):
        OnlineTraining(LeNet5Classic(drop_rate=0.5), *blobs)
    with pytest.raises(TrainingError, match=r"has its rubbish class in the loss: create lenet5_classic without j"):
        OnlineTraining(LeNet5Classic(j=1), *blobs)
    with pytest.raises(TrainingError, match=r"one answer a picture: create lenet5_classic without global_pool=''"):
        OnlineTraining(LeNet5Classic(global_pool=""), *blobs)
    frozen = LeNet5Classic()
    frozen.C1.requires_grad_(False)
    with pytest.raises(TrainingError, match=r"trains every layer: take the freeze off with \.requires_grad_\(True\)"):
        OnlineTraining(frozen, *blobs)


def test_a_schedule_without_a_pass_is_refused(blobs):
    with pytest.raises(InputError, match=r"^schedule=\(\): give a learning rate for each pass, at least one$"):
        OnlineTraining(fresh(), *blobs, schedule=())


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(600, 28, 28), torch.zeros(600).long(), r"images: uint8 N×28×28 expected, got torch\.float32"),
        (torch.zeros(600, 32, 32).byte(), torch.zeros(600).long(), r"of shape \(600, 32, 32\)"),
        (torch.zeros(600, 28, 28).byte(), torch.zeros(599).long(), "labels: int64 of length 600 expected"),
        (torch.zeros(600, 28, 28).byte(), torch.zeros(600).byte(), r"got torch\.uint8"),
        (torch.zeros(600, 28, 28).byte(), torch.full((600,), 10), "labels from 10 to 10: classes are 0 to 9"),
        (torch.zeros(499, 28, 28).byte(), torch.zeros(499).long(), "499 pictures: second derivatives take 500"),
    ],
)
def test_data_that_cannot_be_used_is_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        OnlineTraining(fresh(), images, labels)


def test_reports_are_plain_data(blobs):
    report = OnlineTraining(fresh(), *blobs, schedule=(5e-4,)).run_pass()
    assert {type(value) for value in dataclasses.asdict(report).values()} == {int, float}
