"""A bundle comes back as it was written, and tells when it was changed."""

from __future__ import annotations

import orjson
import pytest

from ops.bundle import (
    CONTENT,
    MANIFEST,
    TRUTH,
    Manifest,
    read_bundle,
    read_manifest,
    read_truth,
    write_bundle,
)
from ops.errors import BundleError
from ops.state import Alert, SloTarget
from rca.state import ChangeEvent, ChangeKind, ClusterEvent, Entity, EntityKind, Topology


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "bundle"
    write_bundle(
        target,
        manifest=Manifest(start_s=0.0, end_s=60.0, scrape_s=5.0, seed=7, version="1.2.3"),
        metrics_text='up{job="é"} 1 5\n# EOF\n',
        journal=b'{"kind":"open"}\n',
        topology=Topology(
            calls={("east", "door"): ("engine",)},
            pods={"p": ("east", "door", "n")},
            entries=(("east", "door"),),
        ),
        slos=[SloTarget(name="fast", ttft_s=1.0, tpot_s=0.1)],
        events=[ClusterEvent(at_s=1.0, reason="Killing", entity=Entity(EntityKind.POD, "e", "p"))],
        changes=[
            ChangeEvent(
                at_s=2.0, kind=ChangeKind.DEPLOY, region="east", service="door",
                revision_from="r0", revision_to="r1",
            )
        ],
        alerts=[Alert(group_key="g", fingerprint="f", starts_at_s=3.0, firing=True)],
        truth={"entity": "pod:east/p"},
    )  # fmt: skip
    return target


def test_what_was_written_is_read(folder):
    bundle = read_bundle(folder)
    assert bundle.metrics_text.startswith('up{job="é"}')
    assert bundle.events[0]["entity"] == "pod:e/p"
    assert bundle.changes[0]["kind"] == "deploy"
    assert bundle.alerts[0]["fingerprint"] == "f"
    assert bundle.topology["calls"] == {"east/door": ["engine"]}
    assert bundle.slos[0]["ttft_s"] == 1.0
    assert bundle.journal == b'{"kind":"open"}\n'
    assert (bundle.manifest.seed, bundle.manifest.scrape_s) == (7, 5.0)


def test_the_replay_path_never_opens_the_truth(folder):
    before = read_bundle(folder)
    (folder / TRUTH).unlink()
    assert read_bundle(folder) == before
    assert TRUTH not in before.manifest.sha256


def test_the_truth_is_read_apart_and_verified(folder):
    assert read_truth(folder) == {"entity": "pod:east/p"}
    (folder / TRUTH).write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"truth.json was changed"):
        read_truth(folder)


def test_a_bundle_without_truth_has_none(folder):
    manifest = read_manifest(folder)
    write_bundle(folder, manifest=manifest, metrics_text="# EOF\n", journal=b"",
                 topology=Topology(), slos=[])  # fmt: skip
    assert read_truth(folder) is None
    assert not (folder / TRUTH).exists()


@pytest.mark.parametrize("name", CONTENT)
def test_a_changed_file_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"{name} was changed"):
        read_bundle(folder)


@pytest.mark.parametrize("name", (*CONTENT, MANIFEST))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "cannot be read"),
        (b"\xff\x00", "cannot be read"),
        (b"[1]", "holds list"),
        (b"{}", "start_s is None"),
        (b'{"start_s":true}', "start_s is True"),
    ],
)
def test_a_bad_manifest_is_an_error_of_our_own(folder, raw, says):
    (folder / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError, match=says):
        read_bundle(folder)


def test_a_newer_format_is_refused(folder):
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest | {"format_version": 99}))
    with pytest.raises(BundleError, match="format 99 is newer"):
        read_bundle(folder)


def test_the_same_content_has_the_same_bytes(folder, tmp_path):
    again = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert set(again) == {*CONTENT, MANIFEST, TRUTH}
    assert read_manifest(folder).sha256.keys() == set(CONTENT)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(
            tmp_path / "file",
            manifest=Manifest(start_s=0.0, end_s=1.0, scrape_s=5.0, seed=0, version="1"),
            metrics_text="", journal=b"", topology=Topology(), slos=[],
        )  # fmt: skip
