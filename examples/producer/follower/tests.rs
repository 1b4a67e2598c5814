//! What happens to files while they are followed, one visit after the other, without a clock.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::AtomicU32;

use super::*;

/// A folder with one file that is followed.
struct Folder {
    path: PathBuf,
    follower: Follower,
    now: Instant,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    notes: Vec<String>,
}

impl Sink for Seen {
    fn line(&mut self, line: &[u8]) -> bool {
        self.lines.push(String::from_utf8_lossy(line).into_owned());
        true
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

impl Folder {
    fn new(start: Start, content: Option<&str>) -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("zmq2ws-follower-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let follower = Follower::new(path.join("log"), start, common(100));
        let folder = Self { path, follower, now: Instant::now(), seen: Seen::default() };
        if let Some(content) = content {
            folder.append("log", content);
        }
        folder
    }

    fn append(&self, name: &str, content: &str) {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path.join(from), self.path.join(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path.join(name)).unwrap();
    }

    /// The lines of one visit.
    fn visit(&mut self) -> Vec<String> {
        self.visit_as(Visit::AtEnd)
    }

    #[track_caller]
    fn visit_as(&mut self, expected: Visit) -> Vec<String> {
        let visit = self.follower.visit(self.now, &mut [0; 16], &mut self.seen);
        assert_eq!(visit, expected, "{:?}", self.seen.notes);
        std::mem::take(&mut self.seen.lines)
    }

    fn notes(&mut self) -> String {
        std::mem::take(&mut self.seen.notes).join("; ")
    }
}

fn common(open_max: usize) -> Arc<Common> {
    let claims = Arc::new(Claims::with_limit(open_max));
    let budget = Budget::with_limit(1000);
    Arc::new(Common { claims, line_bytes_max: 100, budget, stop: Arc::default() })
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_partial_last_line_waits_for_its_end() {
    let mut folder = Folder::new(Start::All, Some("one\ntw"));
    assert_eq!(folder.visit(), ["one"]);
    assert!(folder.follower.take_change());
    assert_eq!(folder.visit(), NOTHING);
    assert!(!folder.follower.take_change());
    folder.append("log", "o");
    assert_eq!(folder.visit(), NOTHING);
    assert!(folder.follower.take_change(), "it grows, if by no line");
    folder.append("log", "\nthree\n");
    assert_eq!(folder.visit(), ["two", "three"]);
    assert_eq!(folder.notes(), "");
}

#[test]
fn a_file_begins_as_many_lines_before_its_end_as_are_wanted() {
    let long = "x".repeat(99) + "\n";
    for (content, lines, expected) in [
        ("1\n2\n3\n".to_owned(), 2, vec!["2", "3"]),
        ("1\n2\n3\n".to_owned(), 0, vec![]),
        ("1\n2\n3\n".to_owned(), 9, vec!["1", "2", "3"]),
        ("1\n2\npart".to_owned(), 1, vec!["2"]),
        ("part".to_owned(), 0, vec![]),
        (String::new(), 1, vec![]),
        ("\n\n".to_owned(), 1, vec![""]),
        (long.repeat(2000) + "end\n", 2, vec![long.trim_end(), "end"]),
    ] {
        let mut folder = Folder::new(Start::Last(lines), Some(&content));
        assert_eq!(folder.visit(), expected, "{lines} of {} bytes", content.len());
        folder.append("log", "ial\n");
        let next = if content.ends_with("part") { "partial" } else { "ial" };
        assert_eq!(folder.visit(), [next]);
    }
}

#[test]
fn a_line_without_an_end_is_not_searched_to_its_beginning() {
    const GIANT_BYTES: u64 = 1 << 30;
    for (end, expected) in [
        ("", GIANT_BYTES - SEARCH_BYTES_MIN),
        ("\n", GIANT_BYTES + 1 - SEARCH_BYTES_MIN),
        ("\nlast\n", GIANT_BYTES + 1),
        ("\n0\n1\n2\n", GIANT_BYTES + 3),
    ] {
        let mut folder = Folder::new(Start::Last(2), Some(""));
        // It takes no place on the disk.
        let file = OpenOptions::new().write(true).open(folder.path.join("log")).unwrap();
        file.set_len(GIANT_BYTES).unwrap();
        folder.append("log", end);
        folder.follower.look(folder.now, &mut |_| {});
        assert_eq!(folder.follower.current.as_ref().unwrap().offset, expected);
    }
}

#[test]
fn a_stop_does_not_wait_for_the_last_lines_of_a_large_file() {
    let mut folder = Folder::new(Start::Last(1 << 40), Some(""));
    let file = OpenOptions::new().write(true).open(folder.path.join("log")).unwrap();
    file.set_len(1 << 26).unwrap();
    folder.follower.common.stop.store(true, Ordering::Relaxed);
    folder.follower.look(folder.now, &mut |_| {});
    assert_eq!(folder.follower.current.as_ref().unwrap().offset, 1 << 26, "nothing was searched");
}

#[test]
fn what_comes_later_is_read_from_its_beginning() {
    let mut folder = Folder::new(Start::Last(0), None);
    assert_eq!(folder.visit(), NOTHING);
    assert_eq!(folder.notes(), "is not there (yet)");
    assert_eq!(folder.visit(), NOTHING);
    assert_eq!(folder.notes(), "", "said once");
    folder.append("log", "first\n");
    assert_eq!(folder.visit(), ["first"]);
    assert_eq!(folder.notes(), "has appeared; following it");
}

#[test]
fn rotation_by_renaming_loses_nothing_and_keeps_the_order() {
    let mut folder = Folder::new(Start::All, Some("1\n"));
    assert_eq!(folder.visit(), ["1"]);
    folder.append("log", "2\n");
    folder.rename("log", "log.1");
    assert_eq!(folder.visit(), ["2"], "no file has the name yet");
    // The writer has not noticed: it goes on writing to the file that it has open.
    folder.append("log.1", "3\n");
    folder.append("log", "");
    assert_eq!(folder.visit(), ["3"]);
    folder.append("log.1", "4\n");
    folder.append("log", "5\n");
    assert_eq!(folder.visit(), ["4", "5"]);
    folder.append("log.1", "late\n");
    assert_eq!(folder.visit(), ["late"], "another writer was slower");
    folder.now += GRACE;
    folder.visit();
    assert!(folder.follower.retired.is_empty());
    folder.append("log", "6\n");
    assert_eq!(folder.visit(), ["6"]);
    assert!(folder.notes().contains("has been replaced"));
}

#[test]
fn a_rotation_that_there_is_no_room_for_waits_until_an_older_file_is_closed() {
    let mut folder = Folder::new(Start::All, Some("1\n"));
    folder.follower.common = common(2);
    assert_eq!(folder.visit(), ["1"]);
    for number in 2..=3 {
        folder.rename("log", &format!("log.{number}"));
        folder.append("log", &format!("{number}\n"));
    }
    assert_eq!(folder.visit(), ["3"], "the one between was not seen");
    folder.rename("log", "log.4");
    folder.append("log.4", "late\n");
    folder.append("log", "4\n");
    assert_eq!(folder.visit(), ["late"]);
    folder.now += GRACE;
    folder.visit();
    assert_eq!(folder.visit(), ["4"]);
    assert_eq!(folder.follower.retired.len(), 1);
}

#[test]
fn the_last_line_of_a_rotated_file_may_lack_its_end() {
    let mut folder = Folder::new(Start::All, Some("1\n2"));
    assert_eq!(folder.visit(), ["1"]);
    folder.rename("log", "log.1");
    folder.append("log", "");
    assert_eq!(folder.visit(), NOTHING, "it may still come");
    folder.append("log", "3\n");
    assert_eq!(folder.visit(), ["2", "3"]);
}

#[test]
fn files_that_are_replaced_between_two_visits_while_the_first_is_read_are_read_in_order() {
    let lines = |name: &str| (0..40_000).map(|n| format!("{name}{n:06}\n")).collect::<String>();
    let mut folder = Folder::new(Start::All, Some(&lines("a")));
    let mut seen = folder.visit_as(Visit::More);
    for (number, name) in ["b", "c"].iter().enumerate() {
        folder.rename("log", &format!("log.{number}"));
        folder.append("log", &lines(name));
        seen.extend(folder.visit_as(Visit::More));
    }
    while let Visit::More = folder.follower.visit(folder.now, &mut [0; 4096], &mut folder.seen) {}
    seen.extend(std::mem::take(&mut folder.seen.lines));
    let expected = ["a", "b", "c"].map(lines).concat();
    assert!(seen.iter().map(String::as_str).eq(expected.lines()), "{} lines", seen.len());
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let mut folder = Folder::new(Start::All, Some("1\n2\nhalf"));
    assert_eq!(folder.visit(), ["1", "2"]);
    // As logrotate's copytruncate does.
    fs::copy(folder.path.join("log"), folder.path.join("log.1")).unwrap();
    File::options().write(true).open(folder.path.join("log")).unwrap().set_len(0).unwrap();
    folder.append("log", "3\n");
    assert_eq!(folder.visit(), ["3"]);
    assert!(folder.notes().contains("truncated, and with it the line that was begun"));
}

#[test]
fn a_truncated_file_is_noticed_however_much_it_has_grown_since() {
    for (before, start) in [("1\n2\n", Start::All), ("old\n1\n2\n", Start::Last(2))] {
        let mut folder = Folder::new(start, Some(before));
        assert_eq!(folder.visit(), ["1", "2"]);
        fs::write(folder.path.join("log"), "3\n4\n5\n6\n7\n").unwrap();
        assert_eq!(folder.visit(), ["3", "4", "5", "6", "7"]);
        folder.append("log", "8\n");
        assert_eq!(folder.visit(), ["8"]);
        assert!(folder.notes().contains("truncated"));
    }
}

#[test]
fn a_file_that_is_made_again_is_read_from_its_beginning() {
    let mut folder = Folder::new(Start::Last(0), Some("old\n"));
    assert_eq!(folder.visit(), NOTHING);
    folder.remove("log");
    assert_eq!(folder.visit_as(Visit::AtEnd), NOTHING);
    folder.append("log", "1\n");
    assert_eq!(folder.visit(), ["1"]);
    folder.remove("log");
    folder.append("log", "2\n3\n");
    assert_eq!(folder.visit(), ["2", "3"]);
}

#[test]
fn a_removed_file_is_closed_after_a_while_with_its_last_line() {
    let mut folder = Folder::new(Start::All, Some("1\nlast"));
    assert_eq!(folder.visit(), ["1"]);
    folder.remove("log");
    assert_eq!(folder.visit(), NOTHING);
    assert!(folder.follower.current.is_some());
    folder.now += GRACE;
    assert_eq!(folder.visit_as(Visit::Gone), ["last"]);
    assert!(folder.follower.current.is_none());
    folder.append("log", "again\n");
    assert_eq!(folder.visit(), ["again"]);
}

#[test]
fn what_is_no_file_is_left_alone_and_told_once() {
    let mut folder = Folder::new(Start::All, None);
    fs::create_dir(folder.path.join("log")).unwrap();
    folder.visit();
    folder.visit();
    assert_eq!(folder.notes(), "is no regular file");
    fs::remove_dir(folder.path.join("log")).unwrap();
    let status = std::process::Command::new("mkfifo").arg(folder.path.join("log")).status();
    assert!(status.unwrap().success());
    folder.visit();
    assert_eq!(
        folder.notes(),
        "",
        "still no regular file, and the producer does not wait for a pipe's writer"
    );
}

#[test]
fn what_cannot_be_read_is_told_once_and_waited_for_as_long_as_it_is_there() {
    let mut folder = Folder::new(Start::All, Some("1\n"));
    assert_eq!(folder.visit(), ["1"]);
    folder.remove("log");
    fs::create_dir(folder.path.join("log")).unwrap();
    for _ in 0..3 {
        // Gone, it would be found again by its pattern, and told again.
        assert_eq!(folder.visit_as(Visit::AtEnd), NOTHING);
        folder.now += GRACE;
    }
    assert!(folder.follower.current.is_none(), "it would keep its place on the disk");
    assert_eq!(folder.notes(), "is no regular file");
    fs::remove_dir(folder.path.join("log")).unwrap();
    assert_eq!(folder.visit_as(Visit::Gone), NOTHING);
}

#[test]
fn a_large_file_leaves_room_for_others() {
    let line = "x".repeat(63) + "\n";
    let mut folder = Folder::new(Start::All, Some(&line.repeat(10_000)));
    assert_eq!(folder.visit_as(Visit::More).len() as u64, BYTES_PER_VISIT / 64);
}

#[test]
fn a_sink_that_has_enough_is_left_alone() {
    struct Full;
    impl Sink for Full {
        fn line(&mut self, _: &[u8]) -> bool {
            false
        }
        fn note(&mut self, _: &str) {}
    }
    let mut folder = Folder::new(Start::All, Some("1\n2\n"));
    let visit = folder.follower.visit(folder.now, &mut [0; 16], &mut Full);
    assert_eq!(visit, Visit::Stopped);
}
