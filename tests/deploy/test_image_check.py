"""Unit tests of `make image-check`, which takes minutes and is not run with the tests."""

from pathlib import Path

import pytest

from tests.deploy.chart import of_example
from tests.deploy.image.access import apt_settings, paths, pip_settings
from tests.deploy.image.context import Context
from tests.deploy.image.dockerfile import Dockerfile, Image
from tests.deploy.image.layers import suite
from tests.deploy.image.pod import Pod
from tests.deploy.image.recorded import Recorded

pytestmark = pytest.mark.deploy

SMALL = """ARG BASE=debian:bookworm-20261005-slim
FROM ${BASE} AS tools
ENV PLACE=/opt
WORKDIR $PLACE/tools
COPY one two ./
FROM ${BASE} AS unused
RUN false
FROM tools AS whole
ARG VERSION=1
LABEL a="one two" b=$VERSION
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \\
    echo $VERSION
COPY --from=other /a /b
HEALTHCHECK --interval=30s --timeout=5s CMD ["true", "it is"]
FROM ${BASE} AS other
"""


def test_only_needed_stages_are_built() -> None:
    builder = Recorded()
    image = Dockerfile(SMALL, {"VERSION": "2"}).build("whole", builder)
    assert builder.begun == ["tools", "other", "whole"]
    assert builder.folders == ["/opt/tools"]
    assert builder.copied == [
        ("tools", None, ["one", "two"], "/opt/tools/./"),
        ("whole", "other", ["/a"], "/b"),
    ]
    assert builder.ran == [("whole", "echo $VERSION")]
    assert image.labels == {"a": "one two", "b": "2"}
    assert (image.environment["PLACE"], image.folder) == ("/opt", "/opt/tools")
    assert (image.health, image.health_flags["timeout"]) == (["true", "it is"], "5s")


@pytest.mark.parametrize("line", ["USER ${NOBODY}", "ONBUILD RUN true", "WORKDIR ${PLACE:-/}"])
def test_an_unknown_instruction_is_an_error(line: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        Dockerfile(f"FROM x AS y\n{line}\n").build("y", Recorded())


def test_dockerignore_is_applied(tmp_path: Path) -> None:
    for name in ("kept/a.py", "kept/__pycache__/a.pyc", "left/b.py", "kept.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text("# nothing\n*\n!kept\n**/__pycache__\n")
    context = Context(tmp_path)
    assert context.files("kept") == [tmp_path / "kept/a.py"]
    assert not context.has(tmp_path / "kept.txt")
    with pytest.raises(FileNotFoundError, match="left"):
        context.files("left")


def test_pips_configuration_is_read() -> None:
    """Environment variables take precedence over files, and several values become one line."""
    listing = ":env:.timeout='180'\nglobal.extra-index-url='file:///a/simple\\nhttps://b/simple'\nglobal.timeout='15'\n"
    assert pip_settings(listing) == {"extra-index-url": "file:///a/simple https://b/simple", "timeout": "180"}
    assert paths("file:///a/simple https://b/simple /c") == [Path("/a"), Path("/c")]


def test_apts_download_settings_are_read() -> None:
    dump = 'APT "";\nAcquire::http::Proxy "http://p";\nAcquire::IndexTargets::deb "";\nDPkg::Post-Invoke:: "x";\n'
    assert apt_settings(dump) == ['Acquire::http::Proxy "http://p";']


def test_the_debian_release_of_an_image() -> None:
    assert (
        suite(Dockerfile((Path(__file__).parents[2] / "Dockerfile").read_text()).stages["cpu-system"].base)
        == "bookworm"
    )
    with pytest.raises(AssertionError, match="nvidia"):
        suite("nvidia/cuda:13.0.2-runtime-ubuntu24.04")


def test_the_containers_options_are_those_of_the_chart(tmp_path: Path) -> None:
    image = Image(environment={"HOME": "/home/maritalk", "PATH": "/bin"}, folder="/home/maritalk")
    options = Pod(of_example("demo-cpu"), image, tmp_path).options("server")
    assert options.command == ["maritalk-serve"]
    assert (options.user, options.groups, options.read_only, options.privileges) == (
        (10001, 10001),
        (10001,),
        True,
        False,
    )
    assert options.environment["HOME"] == "/tmp"
    assert options.environment["PATH"] == "/bin"
    assert options.environment["MARITALK_LICENSE"].startswith("000000-")
    mounts = {mount.target: mount for mount in options.mounts}
    assert mounts["/dev/shm"].source is None
    assert mounts["/etc/maritalk"].read_only
    configuration, cache = mounts["/etc/maritalk"].source, mounts["/cache"].source
    assert configuration is not None
    assert "model: demo" in (configuration / "maritalk.yaml").read_text()
    assert cache is not None
    assert (cache.stat().st_mode & 0o7777, cache.stat().st_gid) == (0o2775, 10001)
