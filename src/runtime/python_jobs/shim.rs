//! The Python side, as it is built into this program.

/// Name and text of each file, with `/` between folders.
pub(super) const SHIM: [(&str, &str); 16] = [
    ("sitecustomize.py", include_str!("../../../python/sitecustomize.py")),
    ("tikkun_shim/__init__.py", include_str!("../../../python/tikkun_shim/__init__.py")),
    ("tikkun_shim/attempt.py", include_str!("../../../python/tikkun_shim/attempt.py")),
    ("tikkun_shim/boot.py", include_str!("../../../python/tikkun_shim/boot.py")),
    ("tikkun_shim/capture.py", include_str!("../../../python/tikkun_shim/capture.py")),
    ("tikkun_shim/child.py", include_str!("../../../python/tikkun_shim/child.py")),
    ("tikkun_shim/frames.py", include_str!("../../../python/tikkun_shim/frames.py")),
    ("tikkun_shim/hazards.py", include_str!("../../../python/tikkun_shim/hazards.py")),
    ("tikkun_shim/hygiene.py", include_str!("../../../python/tikkun_shim/hygiene.py")),
    ("tikkun_shim/imports.py", include_str!("../../../python/tikkun_shim/imports.py")),
    ("tikkun_shim/leaves.py", include_str!("../../../python/tikkun_shim/leaves.py")),
    ("tikkun_shim/lifeline.py", include_str!("../../../python/tikkun_shim/lifeline.py")),
    ("tikkun_shim/rehearsal.py", include_str!("../../../python/tikkun_shim/rehearsal.py")),
    ("tikkun_shim/shortcuts.py", include_str!("../../../python/tikkun_shim/shortcuts.py")),
    ("tikkun_shim/way.py", include_str!("../../../python/tikkun_shim/way.py")),
    ("tikkun_shim/zygote.py", include_str!("../../../python/tikkun_shim/zygote.py")),
];
