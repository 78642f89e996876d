"""The sync figures of a take: which networks listen, and against what it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daetalker.models.training import lips
from daetalker.models.training.data import lip_opening
from daetalker.models.training.light_asd import LightAsd, load_light_asd
from daetalker.models.training.probes import Meter
from daetalker.models.training.sync import Mouths, SyncCollector, SyncTruth
from daetalker.models.training.syncnet import SyncNet, load_syncnet
from daetalker.models.training.tables.held import Held
from daetalker.models.training.tables.take import Take

NO_SYNCNET = (
    "LSE-D and LSE-C are not measured: they need the public SyncNet v2 weights, named by --syncnet."
)
ABOUT_ASD = (
    "Light-ASD: mean speaking score, which hardly hears whether the speech fits; its contrast: the "
    "score of the pictures in speech less that in silence."
)


@dataclass(frozen=True)
class SyncSource:
    """Makes a collector for each row of the tables; without a network its figures are None."""

    light_asd: LightAsd | None = None
    syncnet: SyncNet | None = None

    @classmethod
    def load(cls, light_asd: Path | None, syncnet: Path | None) -> SyncSource:
        """Read the networks that are at hand.

        Raises:
            MeasureError: if a file is missing or is not what it should be.
        """
        return cls(
            load_light_asd(light_asd) if light_asd is not None else None,
            load_syncnet(syncnet) if syncnet is not None else None,
        )

    @property
    def notes(self) -> list[str]:
        """What a reader of the table should know."""
        found = [ABOUT_ASD] if self.light_asd is not None else []
        return found if self.syncnet is not None else [*found, NO_SYNCNET]

    def collector(self, meter: Meter) -> SyncCollector:
        """A new one; frames must come in order from 0."""
        return SyncCollector(meter, light_asd=self.light_asd, syncnet=self.syncnet)


def sync_figures(take: Take, held: Held) -> dict[str, Any]:
    """Judge a take against the set's true sound, video and landmarks; see `sync.SyncFigures`.

    What counts as shut is the whole set's, as a short stretch has too few closures to say.
    """
    truth = SyncTruth(
        lip_opening(held.person.landmarks), Mouths.of(held.faces, held.count), held.phones
    )
    assert take.sync is not None, "this take was recorded with a collector"
    figures = dict(take.sync.figures(held.audio, truth))
    bilabial = [p for p in held.phones if p.name in lips.BILABIAL]
    figures["pbm_closed"] = lips.closed_share(take.opening[: held.count], bilabial, held.shut)
    return figures
