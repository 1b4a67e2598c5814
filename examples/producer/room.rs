//! How many files may be open, so that descriptors are left for subscribers. Opens nothing.

/// What is left at least, and of many descriptors a quarter: the process and ZeroMQ itself have about 15, each
/// subscriber needs one. Without any, no subscriber could connect, and the files would wait for one for ever.
const DESCRIPTORS_LEFT_MIN: u64 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// How many files are followed at a time. Each may have a predecessor, from before it was rotated.
    pub(crate) files_max: usize,
    /// How many may be open, predecessors included.
    pub(crate) open_max: usize,
    /// What to do about it.
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    User,
    /// The system allows so many descriptors.
    System(u64),
}

impl Room {
    /// For `files_max`, or as many as `descriptors` allow; each thread has a socket, and so a descriptor.
    pub(crate) fn new(files_max: usize, descriptors: u64, threads: usize) -> Self {
        let left = (descriptors / 4).max(DESCRIPTORS_LEFT_MIN) + threads as u64;
        let open_max = usize::try_from(descriptors.saturating_sub(left)).unwrap_or(usize::MAX);
        let possible = (open_max / 2).max(1);
        let reason = if possible < files_max { Reason::System(descriptors) } else { Reason::User };
        Self { files_max: possible.min(files_max), open_max, reason }
    }

    /// For the user, where there are more.
    pub(crate) fn note(&self) -> String {
        let max = self.files_max;
        let advice = match self.reason {
            Reason::User => "raise --max-files".to_owned(),
            Reason::System(limit) => {
                format!("raise the system's limit of open files (`ulimit -Hn` is {limit})")
            }
        };
        format!("more than {max} files: {advice} for the others")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_leave_descriptors_for_subscribers() {
        for (descriptors, threads, possible) in
            [(0, 1, 1), (64, 1, 15), (1024, 1, 383), (1024, 1024, 1), (1 << 20, 4, 393_214)]
        {
            let room = Room::new(usize::MAX, descriptors, threads);
            assert_eq!(room.files_max, possible, "{descriptors}");
            assert!(room.note().contains(&format!("`ulimit -Hn` is {descriptors}")));
        }
        let room = Room::new(4096, u64::MAX, 1);
        assert_eq!(
            (room.files_max, &room.note()[..]),
            (4096, "more than 4096 files: raise --max-files for the others")
        );
    }
}
