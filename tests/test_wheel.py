"""The wheel contains all its data files: it works without a checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from maritalk_vllm.models.catalogue import catalogue
from maritalk_vllm.playground.static_files import files

ROOT = Path(__file__).parent.parent


@pytest.mark.engine  # slow: creates an environment
def test_the_wheel_installs_and_finds_its_profiles(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "maritalk_vllm/py.typed" in zipfile.ZipFile(wheel).namelist()
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, *pip[1:], "install", "--no-deps", wheel], check=True)
    # Its dependencies are those of this environment; our own modules must come from the wheel.
    site = next((environment / "lib").glob("*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    show = "import maritalk_vllm; from maritalk_vllm.models.profile import profiles; "
    show += "from maritalk_vllm.models.catalogue import catalogue; "
    show += "from maritalk_vllm.playground.static_files import files; "
    result = subprocess.run(
        [python, "-c", show + "print(maritalk_vllm.__file__, len(files()), *profiles(), *catalogue())"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    file, page, *names = result.stdout.split()
    assert Path(file).is_relative_to(environment), result.stderr
    assert int(page) == len(files())
    assert names == ["demo", "medium", "small", *catalogue()]
    serve: list[str | Path] = [environment / "bin" / "maritalk-serve", "--model", "medium"]
    serve += ["--license", "000000-00000-00000-00000"]
    rejected = subprocess.run(serve, capture_output=True, text=True, env=os.environ, cwd=tmp_path)
    assert rejected.returncode == 4, rejected.stderr
