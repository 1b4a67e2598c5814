//! Holds what is the host program's, so that a panic of it ends here. Knows not what it is.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something of the host program's panicked: what it was called for is to end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Something of the host program's. Calling it and dropping it are the only places that outlive a panic of it.
pub(crate) struct Guarded<T> {
    /// What it is called in the log.
    name: &'static str,
    /// `None` only while it is dropped.
    value: Option<T>,
}

impl<T> Guarded<T> {
    pub(crate) fn new(name: &'static str, value: T) -> Self {
        Self { name, value: Some(value) }
    }

    pub(crate) fn call<R>(&mut self, call: impl FnOnce(&mut T) -> R) -> Result<R, Panicked> {
        let value = self.value.as_mut().expect("it is there until it is dropped");
        guarded(self.name, || call(value))
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        let _ = guarded(self.name, || drop(value));
    }
}

fn guarded<R>(name: &str, call: impl FnOnce() -> R) -> Result<R, Panicked> {
    // Whatever state it left behind is its own; nothing of ours is lent to it but for reading.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        log::error!("the host program's {name} panicked: what it was called for is closed");
        // What it panicked with is its own, too, and may panic when it is dropped. Once: whoever goes on leaks.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(payload);
        }
        Panicked
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }

    #[test]
    fn what_panics_when_it_is_dropped_ends_here() {
        drop(Guarded::new("value", Bomb));
    }

    #[test]
    fn what_is_panicked_with_may_panic_when_it_is_dropped() {
        let mut guarded = Guarded::new("value", 1);
        assert_eq!(guarded.call(|_| panic_any(Bomb)), Err::<(), _>(Panicked));
        assert_eq!(guarded.call(|value| *value + 1), Ok(2));
    }
}
