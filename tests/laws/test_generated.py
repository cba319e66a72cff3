"""Law: what is generated is committed as it would be generated now."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("tool", ["generate.py", "manifests.py"])
def test_generated_files_are_up_to_date(tool: str) -> None:
    check = subprocess.run([sys.executable, str(ROOT / "tools" / tool), "--check"], capture_output=True, text=True)
    assert check.returncode == 0, f"{check.stdout}\n{check.stderr}"


def test_a_stale_file_is_noticed(tmp_path: Path) -> None:
    for name in ("tools", "deploy", "docs"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(tmp_path)], check=True)
    (tmp_path / "deploy" / "crds" / "left-over.yaml").write_text("kind: Gone\n")
    crd = tmp_path / "deploy" / "crds" / "buckets.objectstore.libre.sh.yaml"
    crd.write_text(crd.read_text().replace("Bucket", "Pail", 1))
    check = subprocess.run(
        [sys.executable, str(tmp_path / "tools" / "generate.py"), "--check"], capture_output=True, text=True
    )
    assert check.returncode == 1
    assert "-kind: Gone" in check.stdout
    assert "Pail" in check.stdout
    assert "make generate" in check.stderr
