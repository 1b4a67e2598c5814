//! Log lines to standard error that never block, forge or panic. Knows nothing of the gateway.
//!
//! A log call formats one short line and leaves it in a bounded queue; a thread of its own writes.
//! When standard error is full or closed, lines are dropped and counted, and the count is told as
//! soon as something can be written again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::log_line::{self, LogFormat};
use super::output::Output;

/// About a second of the worst storm that call sites' limits let through; 1 MiB at most.
const QUEUE_LINES_MAX: usize = 1024;
/// One call site's lines: so many at once …
const BURST_LINES: u32 = 20;
/// … and then one in this time.
const LINE_INTERVAL: Duration = Duration::from_millis(100);
/// How often the suppressed lines are told.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);

/// What is logged (`--log`), in the syntax of `RUST_LOG`; `info` by default.
#[derive(Debug)]
pub(crate) struct Filter(env_filter::Filter);

impl Default for Filter {
    fn default() -> Self {
        Self(env_filter::Builder::new().filter_level(LevelFilter::Info).build())
    }
}

impl FromStr for Filter {
    type Err = String;

    /// Stricter than `RUST_LOG` in one thing: a bare word must be a level or a module of ours.
    /// There, `inof` would be a module that logs everything, and all others nothing.
    fn from_str(text: &str) -> Result<Self, String> {
        let (directives, _) = text.split_once('/').unwrap_or((text, ""));
        let is_clear = |directive: &str| {
            directive.contains('=')
                || directive.starts_with("zmq2ws")
                || directive.parse::<LevelFilter>().is_ok()
        };
        let mut builder = env_filter::Builder::new();
        match builder.try_parse(text) {
            Ok(builder) if directives.split(',').map(str::trim).all(is_clear) => {
                Ok(Self(builder.build()))
            }
            _ => Err("expected off, error, warn, info, debug, trace, or MODULE=LEVEL,…".into()),
        }
    }
}

/// The logger and its queue. Clones are the same logger.
#[derive(Clone)]
pub(crate) struct Logger(Arc<Shared>);

struct Shared {
    filter: RwLock<Arc<env_filter::Filter>>,
    format: LogFormat,
    /// Held for a push, a pop or a summary, never while a record is formatted or a line written.
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Logger {
    /// A logger that writes to `output`, on a thread that lives as long as the process.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn start(
        filter: Filter,
        format: LogFormat,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            filter: RwLock::new(Arc::new(filter.0)),
            format,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let for_writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("zmq2ws-log".into())
            .spawn(move || for_writer.write_lines(Output::new(output)))?;
        Ok(Self(shared))
    }

    /// Makes this the process's logger. A second logger in one process stays unused.
    pub(crate) fn install(&self) {
        if log::set_boxed_logger(Box::new(Arc::clone(&self.0))).is_ok() {
            log::set_max_level(self.0.level_max());
        }
    }

    /// Logs by `filter` from now on.
    pub(crate) fn set_filter(&self, filter: Filter) {
        *self.0.filter.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(filter.0);
        log::set_max_level(self.0.level_max());
    }

    /// Waits until all lines are written, but not longer than `timeout`: a full pipe never holds
    /// the exit.
    pub(crate) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut queue = self.0.lock();
        self.0.summarize(&mut queue);
        self.0.changed.notify_all();
        while !queue.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Log for Shared {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter().matches(record) || !self.admit(record) {
            return;
        }
        let line = self.line(record.level(), record.target(), *record.args());
        self.lock().push(line);
        self.changed.notify_all();
    }

    fn flush(&self) {}
}

impl Shared {
    /// Whether the call site has not used up its lines. Debug and trace are asked for, and only the
    /// queue limits them.
    fn admit(&self, record: &Record<'_>) -> bool {
        if record.level() > Level::Info {
            return true;
        }
        let site = Site {
            file: record.file_static().or(record.module_path_static()).unwrap_or_default(),
            line: record.line().unwrap_or_default(),
        };
        let mut queue = self.lock();
        let limit = queue.sites.entry(site).or_default();
        let is_admitted = limit.admit(Instant::now());
        if limit.suppressed == 1 {
            // The writer has something to summarize in a while.
            self.changed.notify_all();
        }
        is_admitted
    }

    fn line(&self, level: Level, target: &str, message: fmt::Arguments<'_>) -> String {
        log_line::format(self.format, SystemTime::now(), level, target, message)
    }

    fn level_max(&self) -> LevelFilter {
        self.filter().filter()
    }

    /// The filter without its lock: to match, it may format a record, whose parts may log.
    fn filter(&self) -> Arc<env_filter::Filter> {
        Arc::clone(&self.filter.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's whole life.
    fn write_lines(&self, mut output: Output<impl Write>) {
        loop {
            let (dropped, line) = self.next_line();
            let is_told = dropped == 0 || {
                let message = format_args!("{dropped} log lines were dropped");
                output.write_line(&self.line(Level::Warn, module_path!(), message))
            };
            let is_written = is_told && output.write_line(&line);
            let mut queue = self.lock();
            if !is_told {
                queue.dropped += dropped;
            }
            if !is_written {
                queue.dropped += 1;
            }
            queue.is_writing = false;
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Waits for something to write: the number of lines lost so far, and the next line.
    fn next_line(&self) -> (u64, String) {
        let mut queue = self.lock();
        let mut summary_due = None;
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.is_writing = true;
                return (std::mem::take(&mut queue.dropped), line);
            }
            if !queue.sites.values().any(|site| site.suppressed > 0) {
                summary_due = None;
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let due = *summary_due.get_or_insert(now + SUMMARY_INTERVAL);
            if now >= due {
                self.summarize(&mut queue);
                continue;
            }
            let waited = self.changed.wait_timeout(queue, due - now);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Turns the counts of suppressed lines into lines.
    fn summarize(&self, queue: &mut Queue) {
        let mut summaries = Vec::new();
        for (site, limit) in &mut queue.sites {
            let suppressed = std::mem::take(&mut limit.suppressed);
            if suppressed > 0 {
                let message = format_args!(
                    "suppressed {suppressed} lines like those of {}:{}",
                    site.file, site.line
                );
                summaries.push(self.line(Level::Warn, module_path!(), message));
            }
        }
        summaries.into_iter().for_each(|line| queue.push(line));
    }
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    dropped: u64,
    /// The writer holds a line that is not yet written.
    is_writing: bool,
    /// As many as the program has log statements.
    sites: HashMap<Site, SiteLimit>,
}

impl Queue {
    fn push(&mut self, line: String) {
        if self.lines.len() < QUEUE_LINES_MAX {
            self.lines.push_back(line);
        } else {
            self.dropped += 1;
        }
    }

    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

/// A log statement in the source.
#[derive(PartialEq, Eq, Hash)]
struct Site {
    file: &'static str,
    line: u32,
}

/// The lines that one call site may still write, as the time at which it would have written all so
/// far evenly.
#[derive(Default)]
struct SiteLimit {
    paid_until: Option<Instant>,
    suppressed: u64,
}

impl SiteLimit {
    fn admit(&mut self, now: Instant) -> bool {
        let paid_until = self.paid_until.map_or(now, |paid_until| paid_until.max(now));
        if paid_until - now > LINE_INTERVAL * (BURST_LINES - 1) {
            self.suppressed += 1;
            return false;
        }
        self.paid_until = Some(paid_until + LINE_INTERVAL);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    fn start(filter: &str, output: impl Write + Send + 'static) -> Logger {
        Logger::start(filter.parse().unwrap(), LogFormat::Text, output).unwrap()
    }

    /// Logs from a call site of its own for each `line`.
    fn log(logger: &Logger, line: u32, level: Level, message: fmt::Arguments<'_>) {
        let record = Record::builder()
            .level(level)
            .target("test")
            .file_static(Some("test.rs"))
            .line(Some(line))
            .args(message)
            .build();
        logger.0.log(&record);
    }

    /// The messages without time, level and target.
    fn messages(reader: impl io::Read) -> impl Iterator<Item = String> {
        let lines = BufReader::new(reader).lines().map(Result::unwrap);
        lines.map(|line| line.split_once(": ").unwrap().1.to_owned())
    }

    #[test]
    fn lines_come_in_order_and_flush_waits_for_them() {
        let (reader, writer) = io::pipe().unwrap();
        let logger = start("info", writer);
        for number in 0..500 {
            log(&logger, number, Level::Info, format_args!("{number}"));
        }
        logger.flush(Duration::from_secs(10));
        assert!(logger.0.lock().is_idle());
        assert!(messages(reader).take(500).eq((0..500).map(|number| number.to_string())));
    }

    #[test]
    fn a_full_pipe_neither_blocks_nor_loses_the_count() {
        let (reader, writer) = io::pipe().unwrap();
        let logger = start("info", writer);
        let started = Instant::now();
        let padding = "x".repeat(500);
        for number in 0..5000 {
            log(&logger, number, Level::Info, format_args!("{number} {padding}"));
        }
        logger.flush(Duration::from_millis(1));
        assert!(started.elapsed() < Duration::from_secs(10));
        let kept_or_told = messages(reader).scan(0, |seen, message| {
            *seen += match message.strip_suffix(" log lines were dropped") {
                Some(count) => count.parse::<u64>().unwrap(),
                None => 1,
            };
            Some(*seen)
        });
        // Ends only when every line was seen or counted.
        assert_eq!(kept_or_told.take_while(|seen| *seen < 5000).last(), Some(4999));
    }

    #[test]
    fn a_closed_pipe_drops_lines_and_kills_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let logger = start("info", writer);
        for number in 0..100 {
            log(&logger, number, Level::Info, format_args!("{number}"));
        }
        logger.flush(Duration::from_secs(10));
        assert_eq!(logger.0.lock().dropped, 100);
    }

    #[test]
    fn a_call_site_that_repeats_itself_is_cut_and_the_cut_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        let logger = start("trace", writer);
        for _ in 0..50 {
            log(&logger, 1, Level::Info, format_args!("again"));
            log(&logger, 2, Level::Debug, format_args!("asked for"));
        }
        logger.flush(Duration::from_secs(10));
        log(&logger, 3, Level::Info, format_args!("end"));
        let seen: Vec<_> = messages(reader).take_while(|message| message != "end").collect();
        assert_eq!(seen.iter().filter(|message| *message == "asked for").count(), 50);
        let told = seen.iter().filter_map(|it| it.strip_prefix("suppressed "));
        let told = told.map(|it| it.split_once(' ').unwrap().0.parse::<usize>().unwrap());
        let written = seen.iter().filter(|message| *message == "again").count();
        assert!((20..50).contains(&written), "{written}");
        assert_eq!(written + told.sum::<usize>(), 50);
    }

    #[test]
    fn suppressed_lines_are_told_without_any_further_line() {
        let (reader, writer) = io::pipe().unwrap();
        let logger = start("info", writer);
        for _ in 0..100 {
            log(&logger, 1, Level::Info, format_args!("again"));
        }
        assert!(messages(reader).any(|message| message.starts_with("suppressed ")));
    }

    #[test]
    fn a_call_site_gets_a_burst_and_then_ten_lines_a_second() {
        let (mut limit, start) = (SiteLimit::default(), Instant::now());
        let admitted = |limit: &mut SiteLimit, millis| {
            let now = start + Duration::from_millis(millis);
            (0..100).filter(|_| limit.admit(now)).count()
        };
        assert_eq!(admitted(&mut limit, 0), 20);
        assert_eq!(admitted(&mut limit, 99), 0);
        assert_eq!(admitted(&mut limit, 100), 1);
        assert_eq!(admitted(&mut limit, 1100), 10);
        assert_eq!(admitted(&mut limit, 60_000), 20);
    }

    #[test]
    fn the_filter_can_be_changed() {
        let (reader, writer) = io::pipe().unwrap();
        let logger = start("warn", writer);
        log(&logger, 1, Level::Info, format_args!("before"));
        logger.set_filter("test=debug".parse().unwrap());
        log(&logger, 2, Level::Debug, format_args!("after"));
        assert_eq!(messages(reader).next().unwrap(), "after");
    }

    #[test]
    fn filters_are_levels_and_modules() {
        for filter in
            ["off", "INFO", "zmq2ws::cli", "warn, zmq2ws=debug", "other=trace,off", "info/x"]
        {
            assert!(filter.parse::<Filter>().is_ok(), "{filter}");
        }
        for filter in ["", "inof", "info,", "zmq2ws=loud", "a=b=c", "info/["] {
            assert!(filter.parse::<Filter>().is_err(), "{filter}");
        }
    }
}
