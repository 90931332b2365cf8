"""Turn a rendered pod into container options, as a kubelet does, with folders for volumes."""

import base64
import os
from pathlib import Path
from typing import Any

from tests.deploy.chart import Document
from tests.deploy.image.container import Mount, Options
from tests.deploy.image.dockerfile import Image


class Pod:
    """The server's pod in rendered documents. Its volumes are folders, which outlive its containers."""

    def __init__(self, documents: list[Document], image: Image, folder: Path) -> None:
        self._documents, self._image = documents, image
        (deployment,) = (each for each in documents if each["kind"] == "Deployment")
        self.spec: Document = deployment["spec"]["template"]["spec"]
        self._security = self.spec["securityContext"]
        self._volumes = {volume["name"]: self._volume(volume, folder) for volume in self.spec["volumes"]}

    def container(self, name: str) -> Document:
        """A container or init container by name."""
        (found,) = (each for each in (*self.spec["initContainers"], *self.spec["containers"]) if each["name"] == name)
        document: Document = found
        return document

    def options(self, name: str) -> Options:
        """The options of a container."""
        container = self.container(name)
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        given = {each["name"]: self._value(each) for each in container.get("env", ())}
        return Options(
            command=[*container.get("command", self._image.entrypoint), *container.get("args", ())],
            environment=self._image.environment | given,
            user=(self._security["runAsUser"], self._security["runAsGroup"]),
            groups=(self._security["fsGroup"],),
            mounts=[self._mount(each) for each in container["volumeMounts"]],
            folder=self._image.folder,
            read_only=security["readOnlyRootFilesystem"],
            privileges=False,
        )

    def _mount(self, mount: Document) -> Mount:
        return Mount(mount["mountPath"], self._volumes[mount["name"]], mount.get("readOnly", False))

    def _volume(self, volume: Document, folder: Path) -> Path | None:
        """The volume's folder; None: memory. An emptyDir is writable for all, a claim for the pod's group."""
        place = folder / volume["name"]
        if volume.get("emptyDir", {}).get("medium") == "Memory":
            return None
        place.mkdir(parents=True)
        os.chown(place, 0, self._security["fsGroup"])
        place.chmod(0o2777 if "emptyDir" in volume else 0o2775)
        if "configMap" in volume:
            for name, text in self._named("ConfigMap", volume["configMap"]["name"])["data"].items():
                (place / name).write_text(text)
        else:
            assert volume.keys() & {"emptyDir", "persistentVolumeClaim"}, volume
        return place

    def _value(self, variable: Document) -> str:
        if "value" in variable:
            return str(variable["value"])
        key = variable["valueFrom"]["secretKeyRef"]
        secret = self._named("Secret", key["name"])
        if key["key"] in secret.get("stringData", {}):
            return str(secret["stringData"][key["key"]])
        return base64.b64decode(secret["data"][key["key"]]).decode()

    def _named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (each for each in self._documents if (each["kind"], each["metadata"]["name"]) == (kind, name))
        return found
