//! How many processes the kernel has killed for lack of memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

/// Processes of Tikkun's own control group that the kernel has killed for lack of memory so far, the machine's or the
/// group's; `None` where it does not count them (control groups of version 1, other systems).
pub(super) fn oom_kills() -> Option<u64> {
    static EVENTS: LazyLock<Option<File>> =
        LazyLock::new(|| events(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup")));
    count(EVENTS.as_ref()?)
}

/// The file of the group's events, by what `/proc/self/cgroup` says.
fn events(groups: &str, root: &Path) -> Option<File> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // In a container the name may be the host's, while only the group itself can be seen, at the root.
    let folders = [root.join(group), root.to_owned()];
    folders.iter().find_map(|folder| File::open(folder.join("memory.events")).ok())
}

/// Reads anew what the file says now.
fn count(events: &File) -> Option<u64> {
    let mut text = [0; 512];
    let read = events.read_at(&mut text, 0).ok()?;
    let text = str::from_utf8(text.get(..read)?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "low 0\nhigh 0\nmax 31\noom 4\noom_kill 3\noom_group_kill 0\n";

    #[test]
    fn kills_are_read_anew_from_the_own_group() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("app.slice/tikkun.service");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.events"), EVENTS).unwrap();
        fs::write(root.path().join("memory.events"), "oom_kill 90\n").unwrap();
        let file = events("1:name=systemd:/x\n0::/app.slice/tikkun.service\n", root.path()).unwrap();
        assert_eq!(count(&file), Some(3));
        fs::write(group.join("memory.events"), EVENTS.replace("oom_kill 3", "oom_kill 4")).unwrap();
        assert_eq!(count(&file), Some(4));
    }

    #[test]
    fn group_by_a_name_of_the_host_is_the_one_at_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("memory.events"), EVENTS).unwrap();
        let file = events("0::/docker/4711\n", root.path()).unwrap();
        assert_eq!(count(&file), Some(3));
    }

    #[test]
    fn without_such_groups_nothing_is_known() {
        let root = tempfile::tempdir().unwrap();
        assert!(events("4:memory:/docker/4711\n", root.path()).is_none());
        assert!(events("0::/\n", root.path()).is_none());
        fs::write(root.path().join("memory.events"), "oom 1\n").unwrap();
        assert_eq!(count(&events("0::/\n", root.path()).unwrap()), None);
    }
}
