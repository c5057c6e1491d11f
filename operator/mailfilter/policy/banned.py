"""What is banned: the rules of a resource with its presets written out."""

from dataclasses import dataclass
from typing import Any

from mailfilter.api.verdicts import Banned


@dataclass(frozen=True)
class Preset:
    """Rules under one name."""

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    mime_types: tuple[str, ...] = ()


def _endings(words: str) -> tuple[str, ...]:
    return tuple(f"*.{word}" for word in words.split())


PRESETS = {
    "Commands": Preset(names=_endings("exe vbs pif scr cpl bat cmd com")),
    "Programs": Preset(
        names=_endings(
            "ade adp app bas bat chm cmd com cpl crt emf exe fxp grp hlp hta inf ins isp js jse lnk mda mdb mde mdw "
            "mdt mdz msc msi msp mst ops pcd pif prg reg scr sct shb shs vb vbe vbs wmf wsc wsf wsh"
        )
    ),
    "Encodings": Preset(names=_endings("mim b64 bhx hqx xxe uu uue")),
    "Metafiles": Preset(types=("wmf",), mime_types=("application/x-msmetafile", "image/x-wmf")),
    "ClassIds": Preset(names=("*{????????-????-????-????-????????????*",)),
    "PartialMessages": Preset(mime_types=("message/partial",)),
    "ExternalBodies": Preset(mime_types=("message/external-body",)),
}


def rules(banned: Banned) -> dict[str, Any]:
    """The rules as policy.json has them; what becomes of a mail is not among them."""
    presets = [PRESETS[name] for name in banned.presets]
    return {
        "enabled": banned.enabled,
        "names": _each_once(banned.names, *(preset.names for preset in presets)),
        "types": _each_once(banned.types, *(preset.types for preset in presets)),
        "mimeTypes": _each_once(banned.mime_types, *(preset.mime_types for preset in presets)),
        "doubleExtensions": banned.double_extensions,
        "allowInside": banned.allow_inside,
    }


def _each_once(*lists: tuple[str, ...] | list[str]) -> list[str]:
    return list(dict.fromkeys(one for each in lists for one in each))
