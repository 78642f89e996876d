"""What DAE-Talker reports (arXiv 2303.17550), to stand beside our rows.

Their figures are of another face, other landmarks and other test sets: a scale, not a race.
"""

from __future__ import annotations

SETS = ("test set A", "test set B", "test set C")
Row = dict[str, tuple[float | None, float | None, float | None]]

# Tables 1 and 2: name, then for each metric its value on the three sets.
TABLE1: dict[str, Row] = {
    "ground truth": {"lse_d": (6.59, 7.12, None), "lse_c": (8.43, 8.27, None), "lmd": (0, 0, None)},
    "MakeItTalk": {
        "lse_d": (8.51, 9.08, 9.19),
        "lse_c": (5.37, 5.88, 5.34),
        "lmd": (3.48, 3.40, None),
    },
    "Wav2Lip": {
        "lse_d": (8.89, 7.83, 7.58),
        "lse_c": (6.49, 7.81, 7.58),
        "lmd": (2.34, 2.60, None),
    },
    "AD-NeRF": {
        "lse_d": (7.80, 8.06, 8.13),
        "lse_c": (6.90, 7.51, 7.03),
        "lmd": (1.06, 2.44, None),
    },
    "DAE-Talker": {
        "lse_d": (7.25, 6.98, 7.63),
        "lse_c": (8.05, 9.25, 8.12),
        "lmd": (1.55, 2.25, None),
    },
}
TABLE2: dict[str, Row] = {
    "DAE-Talker": TABLE1["DAE-Talker"],
    "w/o shared x_T": {
        "lse_d": (7.40, 6.98, 7.63),
        "lse_c": (7.99, 9.25, 8.14),
        "lmd": (1.55, 2.25, None),
    },
    "w/o data aug": {
        "lse_d": (7.82, 7.55, 8.17),
        "lse_c": (7.42, 8.61, 7.47),
        "lmd": (1.88, 2.33, None),
    },
}
# Table 3, on test set A with T = 100.
TABLE3: dict[str, dict[str, float]] = {
    "MakeItTalk, from landmarks": {"psnr_db": 20.070, "ssim": 0.692, "lpips": 0.171},
    "DAE-Talker, from latents": {"psnr_db": 33.702, "ssim": 0.965, "lpips": 0.012},
}
# Table 4, square degrees; whether the axes are summed or averaged is not said.
TABLE4: dict[str, tuple[float, float, float]] = {
    "natural": (113.93, 90.84, 76.94),
    "specified": (7.19, 7.11, 6.00),
}
