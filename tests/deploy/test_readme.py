"""deploy/k8s/README.md: what it names is there, what is there it names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from language_models.settings import LlmSettings
from runtime import VERSION
from runtime.settings import load_settings
from tests.deploy.arrows import arrows
from tests.deploy.kustomize import K8S, render, render_components
from tests.deploy.manifests import Render

README = (K8S / "README.md").read_text(encoding="utf-8")


def folders(kind: str) -> set[str]:
    """The names of all overlays or components."""
    return {path.parent.name for path in K8S.glob(f"{kind}/*/kustomization.yaml")}


def test_every_component_has_its_row_and_is_rendered() -> None:
    """A component that the page or the check forgot would be nobody's."""
    pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")
    from tests.deploy.__main__ import COMBINATIONS

    table = README.partition("| component |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == folders("components")
    assert {name for names in COMBINATIONS for name in names} == folders("components")


@pytest.mark.parametrize("overlay", sorted(folders("overlays")))
def test_every_overlay_says_which_images(kubectl: str, overlay: str) -> None:
    """A name without a version is whatever was there last. The demo's are those of `make images`, which the page hands over."""
    for workload in Render(overlay, render(kubectl, K8S / "overlays" / overlay)).ours:
        name, _, tag = str(workload.container["image"]).rpartition(":")
        assert tag == VERSION, workload.where
        assert name.startswith("localhost/") == (overlay == "demo"), workload.where
    assert f"buildah push localhost/yivideo-$name:{VERSION} docker-archive:" in README


@pytest.mark.parametrize("overlay", sorted(folders("overlays")))
def test_paddle_ocr_can_be_named_in_each_overlay(kubectl: str, overlay: str, tmp_path: Path) -> None:
    """A component that stands last in an overlay's list brings an image, which must get its version there too."""
    shutil.copytree(K8S.parent, tmp_path / "deploy")
    file = tmp_path / "deploy/k8s/overlays" / overlay / "kustomization.yaml"
    made = yaml.safe_load(file.read_text(encoding="utf-8"))
    made["components"].append("../../components/paddle-ocr")
    file.write_text(yaml.safe_dump(made, sort_keys=False))
    node = Render(overlay, render(kubectl, file.parent)).workload("node-ocr")
    assert node is not None
    assert str(node.container["image"]).rpartition("/")[2] == f"yivideo-paddle:{VERSION}"


def test_who_decodes_on_a_card_is_given_the_decoder(kubectl: str) -> None:
    """NVIDIA's runtime brings `compute` and `utility` when nothing is said: NVDEC is `video`."""
    made = Render("gpu", render(kubectl, K8S / "overlays" / "gpu"))
    on_cards = [
        node
        for node in made.nodes
        if node.environment().get("YIVIDEO_GPU__MODE") == "lock"
        or "NVIDIA_VISIBLE_DEVICES" in node.environment()
    ]
    assert "node-ffmpeg" in {node.name for node in on_cards}
    for node in on_cards:
        assert "video" in node.environment()["NVIDIA_DRIVER_CAPABILITIES"].split(","), node.where


_ROLES = {
    "gateway": "gateway", "scheduler": "scheduler", "filestore": "filestore", "gpulock": "gpulock", "nodes": "node", "S3": "s3",
    "its Redis": "redis", "a Redis": "redis", "sentinels": "sentinel",
}  # fmt: skip
"""What the table of arrows calls whom; in the order in which a row names them."""


def test_the_table_of_arrows_is_the_policies(kubectl: str) -> None:
    """Each arrow between workloads that policies allow stands in the table, with its port, and no other does."""
    allowed = set()
    for components in (("embedded-redis", "embedded-s3"), ("sentinel", "embedded-s3")):
        made = Render("all", render_components(kubectl, (*components, "network-policy")))
        allowed |= {(_role(first), _role(last), port) for first, last, port in arrows(made)}
    table = README.partition("| from | to | port | why |")[2].partition("\n\n")[0]
    told = set()
    for row in table.splitlines()[2:]:
        sources, targets, ports, _ = (cell.strip() for cell in row.strip("|").split("|", 3))
        numbers = [int(number) for number in re.findall(r"\d+", ports)]
        firsts = [role for name, role in _ROLES.items() if re.search(rf"\b{name}\b", sources)]
        lasts = [role for name, role in _ROLES.items() if re.search(rf"\b{name}\b", targets)]
        if targets.startswith("each other"):
            told |= {(one, other, 6379 if other == "redis" else 26379) for one in firsts for other in firsts}
        elif len(lasts) == len(numbers):
            told |= {
                (first, last, port) for first in firsts for last, port in zip(lasts, numbers, strict=True)
            }
        elif lasts:
            told |= {(first, last, numbers[0]) for first in firsts for last in lasts}
    assert told == allowed


def _role(workload: str) -> str:
    return "node" if workload.startswith("node-") else workload.removeprefix("lease-")


def test_the_namespace_comes_first_and_refuses_what_is_not_restricted(production: Render) -> None:
    """Each way to deploy begins with it; it is the one that everything is in, with pod security that refuses."""
    made = yaml.safe_load((K8S / "namespace.yaml").read_text(encoding="utf-8"))["metadata"]
    assert made["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"]["namespace"] for one in production.of("Deployment", "Service")} == {made["name"]}
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL):
        if "secrets.sh" in block and "kubectl apply -k" in block:
            first = block.index("kubectl apply -f deploy/k8s/namespace.yaml")
            assert first < block.index("secrets.sh") < block.index("kubectl apply -k")


def test_secrets_that_are_there_stay() -> None:
    """New random values over old ones would lock every process out of its stores: the page's commands create, never apply."""
    uses = re.findall(r"secrets\.sh [^|`]*\|\s*(kubectl \w+) -f -", README)
    assert uses == ["kubectl create", "kubectl create"]


def test_secrets_that_may_be_brought_are_told(production: Render) -> None:
    """What is mounted where it is there, nobody would know of: the page has the command that makes it, and where its files lie."""
    optional = {
        (volume["secret"]["secretName"], path)
        for workload in production.workloads
        for path, volume in workload.mounts.items()
        if volume.get("secret", {}).get("optional")
    }
    assert optional == {("yivideo-llm", "/etc/yivideo-llm")}
    for name, path in optional:
        assert f"create secret generic {name} " in README and f"api_key_file: {path}/" in README


def test_settings_of_the_page_are_settings(tmp_path: Path) -> None:
    """The line that it gives for language models is one that the node takes."""
    (line,) = re.findall(r"^# settings.yaml: +(.*)$", README, re.MULTILINE)
    file = tmp_path / "settings.yaml"
    file.write_text(line)
    read = load_settings(LlmSettings, {"YIVIDEO_CONFIG": str(file)}).llm
    assert read.default_provider == "deepseek" and read.deepseek.api_key_file is not None


def test_namespaces_of_others_are_told(kubectl: str) -> None:
    """Whom a policy lets in by the name of a namespace, the page tells: under another name it is refused without a word."""
    made = Render(
        "all", render_components(kubectl, ("embedded-redis", "embedded-s3", "network-policy", "traces"))
    )
    peers = [
        peer["namespaceSelector"]["matchLabels"]
        for one in made.of("NetworkPolicy")
        for way in ("ingress", "egress")
        for rule in one["spec"].get(way, ())
        for peer in (*rule.get("from", ()), *rule.get("to", ()))
        if "namespaceSelector" in peer
    ]
    names = {labels[label] for labels in peers for label in labels if label == "kubernetes.io/metadata.name"}
    assert names == {"kube-system", "keda", "monitoring", "ingress-nginx", "tracing"}
    for name in names - {"kube-system"}:
        assert f"`{name}`" in README, name


def test_every_overlay_is_deployed_by_a_command() -> None:
    """The page has the command for each, and for no other."""
    assert set(re.findall(r"kubectl apply -k deploy/k8s/overlays/(\S+)", README)) == folders("overlays")


def test_files_that_are_named_exist() -> None:
    """Links of the page lead somewhere."""
    missing = [
        to
        for to in re.findall(r"\]\(([^)#]+)\)", README)
        if not to.startswith("http") and not (K8S / to).exists()
    ]
    assert missing == []
