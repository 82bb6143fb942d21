"""The canonical names of the 302 neurons, and the rule that turns a label into one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_LIST = """
ADAL ADAR ADEL ADER ADFL ADFR ADLL ADLR AFDL AFDR AIAL AIAR AIBL AIBR AIML AIMR AINL AINR AIYL
AIYR AIZL AIZR ALA ALML ALMR ALNL ALNR AQR AS1 AS10 AS11 AS2 AS3 AS4 AS5 AS6 AS7 AS8 AS9 ASEL
ASER ASGL ASGR ASHL ASHR ASIL ASIR ASJL ASJR ASKL ASKR AUAL AUAR AVAL AVAR AVBL AVBR AVDL AVDR
AVEL AVER AVFL AVFR AVG AVHL AVHR AVJL AVJR AVKL AVKR AVL AVM AWAL AWAR AWBL AWBR AWCL AWCR BAGL
BAGR BDUL BDUR CANL CANR CEPDL CEPDR CEPVL CEPVR DA1 DA2 DA3 DA4 DA5 DA6 DA7 DA8 DA9 DB1 DB2 DB3
DB4 DB5 DB6 DB7 DD1 DD2 DD3 DD4 DD5 DD6 DVA DVB DVC FLPL FLPR HSNL HSNR I1L I1R I2L I2R I3 I4 I5
I6 IL1DL IL1DR IL1L IL1R IL1VL IL1VR IL2DL IL2DR IL2L IL2R IL2VL IL2VR LUAL LUAR M1 M2L M2R M3L
M3R M4 M5 MCL MCR MI NSML NSMR OLLL OLLR OLQDL OLQDR OLQVL OLQVR PDA PDB PDEL PDER PHAL PHAR
PHBL PHBR PHCL PHCR PLML PLMR PLNL PLNR PQR PVCL PVCR PVDL PVDR PVM PVNL PVNR PVPL PVPR PVQL
PVQR PVR PVT PVWL PVWR RIAL RIAR RIBL RIBR RICL RICR RID RIFL RIFR RIGL RIGR RIH RIML RIMR RIPL
RIPR RIR RIS RIVL RIVR RMDDL RMDDR RMDL RMDR RMDVL RMDVR RMED RMEL RMER RMEV RMFL RMFR RMGL RMGR
RMHL RMHR SAADL SAADR SAAVL SAAVR SABD SABVL SABVR SDQL SDQR SIADL SIADR SIAVL SIAVR SIBDL SIBDR
SIBVL SIBVR SMBDL SMBDR SMBVL SMBVR SMDDL SMDDR SMDVL SMDVR URADL URADR URAVL URAVR URBL URBR
URXL URXR URYDL URYDR URYVL URYVR VA1 VA10 VA11 VA12 VA2 VA3 VA4 VA5 VA6 VA7 VA8 VA9 VB1 VB10
VB11 VB2 VB3 VB4 VB5 VB6 VB7 VB8 VB9 VC1 VC2 VC3 VC4 VC5 VC6 VD1 VD10 VD11 VD12 VD13 VD2 VD3 VD4
VD5 VD6 VD7 VD8 VD9
"""

NAMES: tuple[str, ...] = tuple(_LIST.split())
"""The neurons of the adult hermaphrodite in byte order; the slots of every worm."""

CHECKSUM = "ed508eaca9be817d899d88eaafba424ece5c076bbc375958cf2943fc02cadf7d"
"""SHA-256 of the names, one a line."""

SHORTER: tuple[str, ...] = tuple(name for name in NAMES if name not in ("CANL", "CANR"))
"""The 300 slots of newer exports, which leave out the CAN cells."""

SLOTS = {name: slot for slot, name in enumerate(NAMES)}
"""Name to slot."""

_BLANK = {"", "-", "--", "---", "nan", "none", "null", "unknown", "unlabeled", "unlabelled"}
_UNCERTAIN = re.compile(r"[?*/|]|\bor\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What the labels of a worm mean.

    Attributes:
        names: The canonical name of each column, each at most once; None where it has none.
        findings: What was kept out, a sentence each.
    """

    names: tuple[str | None, ...]
    findings: tuple[str, ...]


def canonical(label: str) -> str | None:
    """Returns the canonical name that a label stands for, or None.

    Zeros are dropped unless the label ends in one, or is a number: DA01 is DA1, VB10 is VB10.
    """
    text = label.strip()
    if not text.isdigit() and not text.endswith("0"):
        text = text.replace("0", "")
    return text if text in SLOTS else None


def nearest(label: str) -> str | None:
    """Returns the canonical name that looks most like a label, or None where none does."""
    close = get_close_matches(label.strip().upper().replace("0", ""), NAMES, n=1, cutoff=0.6)
    return close[0] if close else None


def labelling(labels: Sequence[str | None]) -> Labelling:
    """Returns the names of a worm's columns: canonical, certain, and each once.

    A column without a label, or with a number for one, is unlabelled and no finding. A label that
    says it is uncertain, or that is no canonical name, is kept out. Of columns with one name the
    first keeps it.
    """
    names: list[str | None] = []
    findings: list[str] = []
    first: dict[str, int] = {}
    for column, label in enumerate(labels):
        name, finding = _named(label)
        if name is not None and name in first:
            finding = (
                f"label {label!r} names {name}, as column {first[name]} does; the first keeps it"
            )
            name = None
        if name is not None:
            first[name] = column
        if finding:
            findings.append(f"column {column}: {finding}")
        names.append(name)
    return Labelling(names=tuple(names), findings=tuple(findings))


def _named(label: str | None) -> tuple[str | None, str]:
    """Returns the name of a label and "", or None and why there is none ("" where it is blank)."""
    text = (label or "").strip()
    if text.casefold() in _BLANK or text.isdigit():
        return None, ""
    if _UNCERTAIN.search(text):
        return None, f"label {text!r:.40} is uncertain; kept out"
    name = canonical(text)
    if name is not None:
        return name, ""
    close = nearest(text)
    hint = f" (did you mean {close!r}?)" if close else ""
    return None, f"label {text!r:.40} is no canonical name{hint}; kept out"
