//! The command line: clap's definition of it, and its many-line errors in one line. Knows no
//! value's meaning.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use zmq2ws::command::{Settings, flag_proposal};

use super::output::write_answer;

const AFTER_HELP: &str = "\
Each flag is also a variable, ZMQ2WS_<NAME> (lists are separated by commas), and a key in the file \
of --config (lists are arrays). A flag wins over a variable, a variable over the file.

Signals: SIGTERM and SIGINT stop within --drain, a second one at once; SIGHUP reads --log and the \
certificate again.
Exit status: 0 after a clean stop, 2 for bad usage or configuration, 1 for a failure to start or \
run, and after a second signal.

Read on: the handbook, docs/README.md in the sources.";

/// What the command line asked for.
pub(crate) enum Parsed {
    /// To run with these settings.
    Flags(Box<Settings>),
    /// `--help` or `--version`, which was printed.
    Answered,
}

/// Reads the command line, the program's name first.
///
/// # Errors
///
/// One line that names the argument at fault.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut texts = Vec::new();
    for arg in args {
        let text = arg.into_string().map_err(|arg| {
            let name = texts.last().filter(|name: &&String| name.starts_with('-'));
            let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
            format!("{name}'{}': expected UTF-8", arg.to_string_lossy().escape_debug())
        })?;
        texts.push(text);
    }
    let error = match command().try_get_matches_from(texts) {
        Ok(matches) => return Ok(Parsed::Flags(Box::new(Settings::from_flags(matches)))),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp => {
            let _ = error.print();
            Ok(Parsed::Answered)
        }
        ErrorKind::DisplayVersion => {
            write_answer(io::stdout().as_fd(), &version());
            Ok(Parsed::Answered)
        }
        _ => Err(one_line(&error)),
    }
}

fn command() -> Command {
    let command = Command::new("zmq2ws")
        .about("Broadcasts every ZeroMQ message to browsers over WebSocket")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(AFTER_HELP)
        .allow_negative_numbers(true)
        .max_term_width(120);
    Settings::flags(command)
}

fn version() -> String {
    let (major, minor, patch) = zmq::version();
    let has = |feature| if zmq::has(feature) == Some(true) { "yes" } else { "no" };
    let (curve, pgm) = (has("curve"), has("pgm"));
    let own = env!("CARGO_PKG_VERSION");
    format!("zmq2ws {own}\nlibzmq {major}.{minor}.{patch} (curve: {curve}, pgm: {pgm})\n")
}

/// What clap says on five lines, on one.
fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    // As `--max-lag <BYTES>`; what the user typed may be long and hold anything.
    let typed = context(ContextKind::InvalidArg).unwrap_or_default();
    let typed: String = typed.chars().take(120).flat_map(char::escape_debug).collect();
    let name = typed.split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if !typed.starts_with('-') => {
            format!("'{typed}': unexpected argument; every setting is a flag (see zmq2ws --help)")
        }
        ErrorKind::UnknownArgument => match flag_proposal(&typed) {
            none if none.is_empty() => format!("{typed}: unknown flag (see zmq2ws --help)"),
            proposal => format!("{typed}: unknown flag{proposal}"),
        },
        ErrorKind::ArgumentConflict => format!("{name}: given more than once"),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues => {
            format!("{name}: a value is missing: {typed}")
        }
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").escape_debug().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(args: &[&str]) -> String {
        let args = std::iter::once("zmq2ws").chain(args.iter().copied()).map(OsString::from);
        match parse(args) {
            Err(line) => line,
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn clap_accepts_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn errors_are_one_line_that_names_the_argument() {
        assert_eq!(
            error(&["--max-lagg", "5"]),
            "--max-lagg: unknown flag; did you mean --max-lag?"
        );
        assert_eq!(error(&["--port", "80"]), "--port: unknown flag; did you mean --listen?");
        assert_eq!(error(&["--zzz"]), "--zzz: unknown flag (see zmq2ws --help)");
        assert_eq!(error(&["-z"]), "-z: unknown flag (see zmq2ws --help)");
        assert!(error(&["serve"]).starts_with("'serve': unexpected argument"));
        assert_eq!(error(&["--max-lag"]), "--max-lag: a value is missing: --max-lag <BYTES>");
        assert_eq!(error(&["--log", "a", "--log", "b"]), "--log: given more than once");
        assert!(error(&["--demo", "maybe"]).starts_with("'maybe': unexpected argument"));
        assert_eq!(
            error(&["--a\nb\x1b[31m"]),
            "--a\\nb\\u{1b}[31m: unknown flag (see zmq2ws --help)"
        );
        assert!(error(&["x".repeat(1 << 16).as_str()]).len() < 256);
    }

    #[test]
    fn flags_of_later_versions_are_unknown() {
        for flag in ["--token-key", "--trust-proxy"] {
            assert!(error(&[flag, "1"]).starts_with(&format!("{flag}: unknown flag")), "{flag}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn arguments_that_are_not_utf8_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(b"a\xff".to_vec());
        let line = parse(["zmq2ws".into(), "--www".into(), value]).err().unwrap();
        assert_eq!(line, "--www: 'a\u{fffd}': expected UTF-8");
    }
}
