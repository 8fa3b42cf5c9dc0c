"""What data sheets say of GPUs. Nothing here is measured.

`bytes_per_s` of a link is one direction between two GPUs of a box.
"""

from __future__ import annotations

from dataclasses import dataclass

NVLINK_3, NVLINK_4, NVLINK_5 = 300e9, 450e9, 900e9
PCIE_4, PCIE_5 = 32e9, 64e9


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """One GPU as sold; arithmetic in dense bf16."""

    name: str
    family: str
    flops_per_s: float
    bytes_per_s: float
    memory_gib: float
    link_bytes_per_s: float


def _sheet(name: str, family: str, *sizes: float) -> DataSheet:
    flops, memory, gib, link = sizes
    return DataSheet(
        name=name, family=family, flops_per_s=flops, bytes_per_s=memory, memory_gib=gib,
        link_bytes_per_s=link,
    )  # fmt: skip


DATA_SHEETS = {
    sheet.name: sheet
    for sheet in (
        _sheet("A100", "ampere", 312e12, 2.039e12, 80.0, NVLINK_3),
        _sheet("A10", "ampere", 125e12, 0.6e12, 24.0, PCIE_4),
        _sheet("RTX-4090", "ada", 165.2e12, 1.008e12, 24.0, PCIE_4),
        _sheet("L4", "ada", 121e12, 0.3e12, 24.0, PCIE_4),
        _sheet("L40S", "ada", 362e12, 0.864e12, 48.0, PCIE_4),
        _sheet("H100", "hopper", 989e12, 3.35e12, 80.0, NVLINK_4),
        _sheet("H200", "hopper", 989e12, 4.8e12, 141.0, NVLINK_4),
        _sheet("H20", "hopper", 148e12, 4.0e12, 96.0, NVLINK_4),
        _sheet("RTX-PRO-6000", "blackwell", 503.8e12, 1.792e12, 96.0, PCIE_5),
        _sheet("B200", "blackwell", 2250e12, 8.0e12, 180.0, NVLINK_5),
    )
}
