//! How much comes from whom, on which topic. Knows no sockets.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use zmq2ws_examples::text;

/// How many topics are counted one by one; the others together.
const TOPICS_MAX: usize = 10_000;

/// How large a table may be, characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    rows: usize,
    columns: usize,
}

impl Size {
    /// One that goes to no terminal.
    const UNBOUNDED: Self = Self { rows: 1000, columns: 120 };
    const USUAL: Self = Self { rows: 23, columns: 80 };

    /// All but the last row, where the cursor stays.
    fn of_terminal(out: impl AsFd) -> Self {
        match rustix::termios::tcgetwinsize(out) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Self {
                rows: usize::from(size.ws_row).max(4) - 1,
                columns: usize::from(size.ws_col),
            },
            _ => Self::USUAL,
        }
    }

    /// For the names of a producer and a topic: what rates and counts and the spaces between leave.
    fn of_names(self) -> (usize, usize) {
        let names = self.columns.saturating_sub(36);
        let producer = names * 2 / 5;
        (producer, names - producer)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    messages: u64,
    bytes: u64,
}

/// One topic.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    total: Count,
    /// What `total` was when a table was last shown.
    shown: Count,
}

/// What was received.
pub(crate) struct Stats {
    topics: HashMap<Vec<u8>, Row>,
    others: Row,
    total: Row,
    /// When the first and the last message came: the silence around them is no part of the rate.
    span: Option<(Instant, Instant)>,
    last_table: Instant,
}

impl Stats {
    pub(crate) fn new(now: Instant) -> Self {
        let (others, total) = (Row::default(), Row::default());
        Self { topics: HashMap::new(), others, total, span: None, last_table: now }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.total.total.messages
    }

    /// The topic is the first part, also of a message that has no other.
    pub(crate) fn add(&mut self, now: Instant, parts: &[Vec<u8>]) {
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        let topic = if parts.len() > 1 { &parts[0][..] } else { &[] };
        let is_full = self.topics.len() >= TOPICS_MAX;
        let row = match self.topics.get_mut(topic) {
            Some(row) => row,
            None if is_full => &mut self.others,
            None => self.topics.entry(topic.into()).or_default(),
        };
        let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        for row in [row, &mut self.total] {
            row.total.messages += 1;
            row.total.bytes += bytes;
        }
    }

    /// Lines for the user, at the end.
    pub(crate) fn report(&self) -> Vec<String> {
        let Count { messages, bytes } = self.total.total;
        let seconds = self.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        // N messages are N - 1 intervals.
        let rate = if seconds > 0.0 { (messages - 1) as f64 / seconds } else { 0.0 };
        let topics = self.topics.len();
        vec![format!(
            "received {messages} messages, {bytes} bytes on {topics} topics in {seconds:.2} s \
             ({rate:.1}/s)"
        )]
    }

    /// What came since the last table, busiest first.
    pub(crate) fn table(&mut self, now: Instant, size: Size) -> Vec<String> {
        let seconds = now.saturating_duration_since(self.last_table).as_secs_f64().max(0.001);
        self.last_table = now;
        let mut rows: Vec<_> = self
            .topics
            .iter_mut()
            .map(|(topic, row)| (row.step(), &topic[..], row.total))
            .collect();
        rows.sort_unstable_by_key(|&(step, topic, _)| (std::cmp::Reverse(step.messages), topic));
        let (producer_columns, topic_columns) = size.of_names();
        let row = |producer: &str, topic: &str, numbers: [String; 3]| {
            let [rate, kilobytes, messages] = numbers;
            let producer: String = producer.chars().take(producer_columns).collect();
            let topic: String = topic.chars().take(topic_columns).collect();
            let row = format!(
                "{producer:<producer_columns$} {topic:<topic_columns$} {rate:>10} {kilobytes:>10} {messages:>12}"
            );
            // Numbers without end, and terminals without room.
            row.chars().take(size.columns).collect::<String>()
        };
        let heading = ["MESSAGES/S", "KB/S", "MESSAGES"].map(str::to_owned);
        let mut lines = vec![row("PRODUCER", "TOPIC", heading)];
        let line = |producer: &str, topic: &str, step: Count, total: Count| {
            let (rate, kilobytes) = (step.messages as f64 / seconds, step.bytes as f64 / seconds);
            let rates = [rate, kilobytes / 1000.0].map(|rate| format!("{rate:.1}"));
            let [rate, kilobytes] = rates;
            row(producer, topic, [rate, kilobytes, total.messages.to_string()])
        };
        // The heading, what is left over, and the total.
        let shown = rows.len().min(size.rows.saturating_sub(3));
        for &(step, topic, total) in &rows[..shown] {
            let (producer, name) = split(topic);
            lines.push(line(&producer, &name, step, total));
        }
        if shown < rows.len() || self.others.total.messages > 0 {
            let (mut step, mut total) = (self.others.step(), self.others.total);
            for (more_step, _, more_total) in &rows[shown..] {
                step = step + *more_step;
                total = total + *more_total;
            }
            lines.push(line("…", "other topics", step, total));
        }
        let total = self.total.total;
        lines.push(line("all", "", self.total.step(), total));
        lines
    }
}

impl Row {
    /// What was added since this was last asked.
    fn step(&mut self) -> Count {
        let Count { messages, bytes } = std::mem::replace(&mut self.shown, self.total);
        Count { messages: self.total.messages - messages, bytes: self.total.bytes - bytes }
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

/// The producer is what a topic has before its first slash.
fn split(topic: &[u8]) -> (String, String) {
    match topic.iter().position(|&byte| byte == b'/') {
        Some(slash) => (text::shown(&topic[..slash]), text::shown(&topic[slash + 1..])),
        None => ("-".to_owned(), text::shown(topic)),
    }
}

/// Shows the table at every interval: in place on a terminal, one after the other elsewhere.
pub(crate) struct View {
    is_terminal: bool,
    interval: Duration,
    due: Instant,
}

impl View {
    pub(crate) fn new(out: &(impl IsTerminal + AsFd), interval: Duration) -> Self {
        Self { is_terminal: out.is_terminal(), interval, due: Instant::now() + interval }
    }

    pub(crate) fn show(
        &mut self,
        now: Instant,
        stats: &mut Stats,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if now < self.due {
            return Ok(());
        }
        self.due = now + self.interval;
        self.show_last(now, stats, out)
    }

    /// Shows the table without waiting for the interval's end.
    pub(crate) fn show_last(
        &self,
        now: Instant,
        stats: &mut Stats,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let size = if self.is_terminal { Size::of_terminal(io::stdout()) } else { Size::UNBOUNDED };
        write_table(out, &stats.table(now, size), self.is_terminal)
    }
}

fn write_table(out: &mut impl Write, table: &[String], is_terminal: bool) -> io::Result<()> {
    // Home, clear to the end; and no line is continued in the next row, where characters are wider than one
    // column.
    let (before, after) =
        if is_terminal { ("\x1b[H\x1b[J\x1b[?7l", "\x1b[?7h") } else { ("", "\n") };
    write!(out, "{before}")?;
    for line in table {
        writeln!(out, "{line}")?;
    }
    write!(out, "{after}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, body: &str) -> Vec<Vec<u8>> {
        [topic, body].map(|part| part.as_bytes().to_vec()).to_vec()
    }

    fn size(rows: usize, columns: usize) -> Size {
        Size { rows, columns }
    }

    #[test]
    fn no_row_is_wider_than_its_terminal() {
        let start = Instant::now();
        let mut stats = Stats::new(start);
        for number in 0..40 {
            let topic =
                format!("a-host-with-a-long-name-{number}/{number}-{}.log", "long".repeat(20));
            stats.add(start, &message(&topic, ""));
        }
        stats.topics.values_mut().for_each(|row| row.total.messages = 1 << 50);
        for columns in [1, 40, 80, 88, 200] {
            stats.add(start, &message("h/busy", ""));
            let table = stats.table(start, size(23, columns));
            assert_eq!(table.len(), 23);
            assert!(
                table.iter().all(|row| row.chars().count() <= columns),
                "{columns}: {table:#?}"
            );
        }
        let table = stats.table(start, Size::USUAL);
        let names: Vec<_> = table[0].split_whitespace().collect();
        assert_eq!(names, ["PRODUCER", "TOPIC", "MESSAGES/S", "KB/S", "MESSAGES"]);
        assert!(table[22].starts_with("all "), "{table:#?}");
    }

    #[test]
    fn a_terminal_is_told_not_to_continue_a_row_in_the_next() {
        let table = ["a".to_owned(), "b".to_owned()];
        let written = |is_terminal| {
            let mut out = Vec::new();
            write_table(&mut out, &table, is_terminal).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(true), "\x1b[H\x1b[J\x1b[?7la\nb\n\x1b[?7h");
        assert_eq!(written(false), "a\nb\n\n");
    }

    #[test]
    fn a_table_tells_what_came_since_the_last_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut stats = Stats::new(start);
        for _ in 0..4 {
            stats.add(start, &message("web1/a.log", "123456"));
        }
        stats.add(after(1), &message("web2/b/c.log", ""));
        stats.add(after(1), &message("plain", ""));
        let words = |line: &String| {
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let table: Vec<_> = stats.table(after(2), size(24, 80)).iter().map(words).collect();
        assert_eq!(table[1], "web1 a.log 2.0 0.0 4");
        assert_eq!(table[2], "- plain 0.5 0.0 1");
        assert_eq!(table[3], "web2 b/c.log 0.5 0.0 1");
        assert_eq!(table[4], "all 3.0 0.0 6");
        stats.add(after(3), &message("web2/b/c.log", ""));
        let table: Vec<_> = stats.table(after(3), size(24, 80)).iter().map(words).collect();
        assert_eq!(table[1], "web2 b/c.log 1.0 0.0 2");
        assert!(table.contains(&"web1 a.log 0.0 0.0 4".to_owned()));
        let report = stats.report();
        assert!(report[0].starts_with("received 7 messages, "), "{report:?}");
        assert!(report[0].ends_with("on 3 topics in 3.00 s (2.0/s)"), "{report:?}");
    }

    #[test]
    fn a_table_fits_its_terminal_and_counts_what_it_does_not_show() {
        let start = Instant::now();
        let mut stats = Stats::new(start);
        for number in 0..100 {
            stats.add(start, &message(&format!("h/{number}"), ""));
        }
        let table = stats.table(start + Duration::from_secs(1), size(10, 80));
        assert_eq!(table.len(), 10);
        assert!(table[8].contains("other topics") && table[8].ends_with(" 93"), "{table:#?}");
        assert!(table[9].starts_with("all") && table[9].ends_with(" 100"), "{table:#?}");
    }

    #[test]
    fn names_cannot_command_a_terminal_and_topics_are_bounded() {
        let mut stats = Stats::new(Instant::now());
        stats.add(Instant::now(), &message("h\x1b[2J/x", ""));
        assert!(stats.table(Instant::now(), size(9, 80))[1].starts_with("h\\u{1b}[2J"));
        for number in 0..TOPICS_MAX + 5 {
            stats.add(Instant::now(), &message(&number.to_string(), ""));
        }
        assert_eq!(stats.topics.len(), TOPICS_MAX);
        assert_eq!(stats.messages(), TOPICS_MAX as u64 + 6);
    }
}
