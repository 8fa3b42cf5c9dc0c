"""The commit is read from files: detached, by reference, packed, in a worktree."""

from __future__ import annotations

from ops.replay.provenance import commit, versions

HASH = "0123456789abcdef0123456789abcdef01234567"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_detached_head_is_the_commit(tmp_path):
    write(tmp_path, ".git/HEAD", HASH + "\n")
    assert commit(tmp_path) == HASH


def test_a_branch_is_followed_loose_and_packed(tmp_path):
    write(tmp_path, ".git/HEAD", "ref: refs/heads/main\n")
    assert commit(tmp_path) == "unknown"
    write(tmp_path, ".git/packed-refs", f"# pack-refs\n{HASH} refs/heads/main\n")
    assert commit(tmp_path) == HASH
    write(tmp_path, ".git/refs/heads/main", HASH[::-1] + "\n")
    assert commit(tmp_path) == HASH[::-1]


def test_a_worktree_points_to_its_repository(tmp_path):
    write(tmp_path, "main/.git/refs/heads/b", HASH + "\n")
    write(tmp_path, "main/.git/worktrees/w/HEAD", "ref: refs/heads/b\n")
    write(tmp_path, "main/.git/worktrees/w/commondir", "../..\n")
    write(tmp_path, "w/.git", f"gitdir: {tmp_path / 'main/.git/worktrees/w'}\n")
    assert commit(tmp_path / "w") == HASH


def test_no_repository_is_unknown(tmp_path):
    assert commit(tmp_path) == "unknown"


def test_versions_name_the_libraries_that_numbers_depend_on():
    assert {"midwatch", "python", "numpy", "scipy"} <= versions().keys()
