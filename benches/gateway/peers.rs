//! Installs the peers of `benches/peers`, each once per lock file, and tells how to run them. Knows nothing of measuring.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

use serde::Deserialize;

/// A peer that is ready to run.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As in `peers.toml`.
    pub(crate) name: String,
    /// Lacks only `--zmq ENDPOINT --listen ADDR`; prints `listening on ADDR` when it takes clients.
    pub(crate) command: Command,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    needs: Vec<String>,
    files: Vec<String>,
    setup: Vec<Vec<String>>,
    run: Vec<String>,
}

/// Says what a set-up would give again, byte by byte: the commands and the files that it starts from.
const STAMP: &str = "setup.stamp";
/// What the set-up's commands printed.
const LOG: &str = "setup.log";

/// Makes the peers of these names ready, each in a folder of its own below `folder`, and returns them in the order asked
/// for. What takes long, and each peer that is left out because a tool is missing or its set-up failed, is told to `say`
/// in one line.
///
/// # Errors
///
/// If a name is not in `peers.toml`, that file is not as it should be, or `folder` cannot be written.
pub(crate) fn prepare(
    names: &[String],
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> io::Result<Vec<Peer>> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    prepare_from(&sources, names, folder, say)
}

fn prepare_from(
    sources: &Path,
    names: &[String],
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> io::Result<Vec<Peer>> {
    let manifest = sources.join("peers.toml");
    let named = |error: String| io::Error::other(format!("{}: {error}", manifest.display()));
    let text = fs::read_to_string(&manifest).map_err(|error| named(error.to_string()))?;
    let recipes: BTreeMap<String, Recipe> =
        toml::from_str(&text).map_err(|error| named(error.to_string()))?;
    let recipe = |name: &String| {
        let known = || recipes.keys().cloned().collect::<Vec<_>>().join(", ");
        recipes
            .get(name)
            .ok_or_else(|| named(format!("there is no peer \"{name}\", only {}", known())))
    };
    // Every name is looked up before the first set-up, which may take minutes.
    let wanted = names.iter().map(|name| Ok((name, recipe(name)?)));
    let mut peers = Vec::new();
    for (name, recipe) in wanted.collect::<io::Result<Vec<_>>>()? {
        if let Some(tool) = recipe.needs.iter().find(|tool| !is_installed(tool)) {
            say(&format!("{name}: left out: there is no {tool} on this machine"));
            continue;
        }
        let copy = env::current_dir()?.join(folder).join(name);
        let mut say = |line: &str| say(&format!("{name}: {line}"));
        match set_up(recipe, &sources.join(name), &copy, &mut say) {
            Ok(()) => peers.push(Peer { name: name.clone(), command: command(&recipe.run, &copy) }),
            Err(Failure::Io(error)) => return Err(error),
            Err(Failure::Step(reason)) => say(&format!("left out: {reason}")),
        }
    }
    Ok(peers)
}

enum Failure {
    /// Our own files.
    Io(io::Error),
    /// A command of the set-up, which may well fail where there is no network.
    Step(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn set_up(
    recipe: &Recipe,
    source: &Path,
    copy: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let read = |name| Ok((name, fs::read_to_string(source.join(name))?));
    let files = recipe.files.iter().map(read).collect::<io::Result<Vec<_>>>()?;
    let stamp = format!("{:?}\n{files:?}\n", recipe.setup);
    if fs::read_to_string(copy.join(STAMP)).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    // Nothing of an older set-up, or of one that failed, may pass for a part of this one.
    match fs::remove_dir_all(copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    fs::create_dir_all(copy)?;
    for (name, text) in files {
        let path = copy.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
        fs::write(path, text)?;
    }
    let log_path = copy.join(LOG);
    let log = fs::File::create(&log_path)?;
    for step in &recipe.setup {
        say(&step.join(" "));
        let mut command = command(step, copy);
        let status =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).status();
        let why = match status {
            Ok(status) if status.success() => continue,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let printed = fs::read(&log_path)?;
        let printed = String::from_utf8_lossy(&printed);
        let last = printed.trim_end().lines().next_back().unwrap_or("nothing was printed");
        let (step, log) = (step.join(" "), log_path.display());
        return Err(Failure::Step(format!("`{step}` failed ({why}): {last} ({log})")));
    }
    fs::write(copy.join(STAMP), stamp)?;
    Ok(())
}

/// In `folder`; a program with a slash in its name is below it.
fn command(words: &[String], folder: &Path) -> Command {
    let (program, args) =
        words.split_first().map_or(("", &[][..]), |(first, rest)| (&**first, rest));
    let program = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    command
}

fn is_installed(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const MANIFEST: &str = r#"
        [good]
        needs = ["sh"]
        files = ["lock"]
        setup = [["sh", "-c", "cat lock >> ../installed; ln -s /bin/true made"], ["./made"]]
        run = ["./made", "--flag"]

        [toolless]
        needs = ["sh", "no-such-tool"]
        files = []
        setup = []
        run = ["no-such-tool"]

        [failing]
        needs = []
        files = []
        setup = [["sh", "-c", "echo tried >> ../tries; echo no libfoo >&2; exit 3"]]
        run = ["sh"]
    "#;

    /// The three peers of `MANIFEST` as a folder of sources, and a folder for what is made of them.
    struct Folders {
        sources: PathBuf,
        made: PathBuf,
    }

    impl Folders {
        fn new(test: &str) -> Self {
            let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers").join(test);
            let _ = fs::remove_dir_all(&root);
            let folders = Self { sources: root.join("sources"), made: root.join("made") };
            for peer in ["good", "toolless", "failing"] {
                fs::create_dir_all(folders.sources.join(peer)).unwrap();
            }
            fs::create_dir_all(&folders.made).unwrap();
            fs::write(folders.sources.join("peers.toml"), MANIFEST).unwrap();
            folders.lock("one");
            folders
        }

        fn lock(&self, text: &str) {
            fs::write(self.sources.join("good/lock"), text).unwrap();
        }

        /// The names of the peers that are ready, and what was said.
        fn prepare(&self, names: &[&str]) -> io::Result<(Vec<String>, Vec<String>)> {
            let mut said = Vec::new();
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let mut say = |line: &str| said.push(line.to_owned());
            let peers = prepare_from(&self.sources, &names, &self.made, &mut say)?;
            Ok((peers.into_iter().map(|peer| peer.name).collect(), said))
        }

        fn made(&self, file: &str) -> String {
            fs::read_to_string(self.made.join(file)).unwrap_or_default()
        }
    }
    #[test]
    fn a_peer_is_set_up_once_per_lock_file() {
        let folders = Folders::new("once");
        for (lock, installed, lines) in
            [("one", "one", 2), ("one", "one", 0), ("two", "onetwo", 2), ("two", "onetwo", 0)]
        {
            folders.lock(lock);
            let (ready, said) = folders.prepare(&["good"]).unwrap();
            assert_eq!(ready, ["good"]);
            assert_eq!(said.len(), lines, "{said:?}");
            assert_eq!(folders.made("installed"), installed);
        }
    }

    #[test]
    fn a_peer_runs_in_its_copy_what_its_set_up_made() {
        let folders = Folders::new("run");
        let names = ["good".to_owned()];
        let mut peers = prepare_from(&folders.sources, &names, &folders.made, &mut |_| {}).unwrap();
        let command = &mut peers[0].command;
        let copy = folders.made.join("good");
        assert_eq!(command.get_current_dir(), Some(&*copy));
        assert_eq!(Path::new(command.get_program()), copy.join("./made"));
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--flag"]);
        assert!(command.status().unwrap().success());
    }

    #[test]
    fn a_peer_that_cannot_be_had_is_left_out_and_the_others_stay() {
        let folders = Folders::new("left-out");
        for tries in ["tried\n", "tried\ntried\n"] {
            let (ready, said) = folders.prepare(&["toolless", "failing", "good"]).unwrap();
            assert_eq!(ready, ["good"]);
            assert!(
                said[0].starts_with("toolless: left out: there is no no-such-tool"),
                "{said:?}"
            );
            assert!(said[2].starts_with("failing: left out: `sh -c"), "{said:?}");
            assert!(
                said[2].contains("exit status: 3") && said[2].contains("setup.log"),
                "{said:?}"
            );
            assert_eq!(folders.made("tries"), tries, "a set-up that failed is tried again");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_before_anything_is_set_up() {
        let folders = Folders::new("unknown");
        let error = folders.prepare(&["good", "goood"]).unwrap_err().to_string();
        assert!(
            error.contains("\"goood\"") && error.contains("failing, good, toolless"),
            "{error}"
        );
        assert_eq!(folders.made("installed"), "");
    }

    #[test]
    fn the_real_peers_are_as_their_manifest_says() {
        let nothing = prepare(&[], Path::new("unused"), &mut |line| panic!("{line}"));
        assert!(nothing.unwrap().is_empty());
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let manifest = fs::read_to_string(sources.join("peers.toml")).unwrap();
        let recipes: BTreeMap<String, Recipe> = toml::from_str(&manifest).unwrap();
        for (name, recipe) in recipes {
            assert!(!recipe.setup.is_empty() && !recipe.run.is_empty(), "{name}");
            for file in recipe.files {
                assert!(sources.join(&name).join(&file).is_file(), "{name}/{file}");
            }
        }
    }
}
