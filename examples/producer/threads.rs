//! Threads of which none fails unnoticed: where one does, the program ends, and says so. Knows not what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

pub(crate) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stop: Arc<AtomicBool>,
    handles: Vec<ScopedJoinHandle<'scope, ()>>,
}

/// Stops the program where its thread panics.
struct Watch(Arc<AtomicBool>);

impl<'scope, 'env> Threads<'scope, 'env> {
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, stop: &Arc<AtomicBool>) -> Self {
        Self { scope, stop: Arc::clone(stop), handles: Vec::new() }
    }

    pub(crate) fn spawn(&mut self, run: impl FnOnce() + Send + 'scope) {
        let watch = Watch(Arc::clone(&self.stop));
        self.handles.push(self.scope.spawn(move || {
            let _watch = watch;
            run();
        }));
    }

    /// Waits for all of them.
    ///
    /// # Errors
    ///
    /// One has panicked, and said why on standard error.
    pub(crate) fn join(self) -> Result<(), &'static str> {
        // All of them: a scope panics for who was not waited for.
        let failed = self.handles.into_iter().filter_map(|handle| handle.join().err()).count();
        if failed == 0 { Ok(()) } else { Err("a thread has failed, see above: this is a bug") }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_stops_the_others_and_is_told() {
        let stop = Arc::new(AtomicBool::new(false));
        let result = thread::scope(|scope| {
            let mut threads = Threads::new(scope, &stop);
            let is_stopped = Arc::clone(&stop);
            threads.spawn(move || {
                while !is_stopped.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            });
            threads.spawn(|| panic!("as the test wants it"));
            threads.join()
        });
        assert!(result.is_err());
        let fine = thread::scope(|scope| {
            let mut threads = Threads::new(scope, &stop);
            threads.spawn(|| {});
            threads.join()
        });
        assert_eq!(fine, Ok(()));
    }
}
