//! A panic as a value: its text and place, caught so that only the current call is lost.
//!
//! There is one hook per process, installed at first use. It keeps a panic that [`catch_panic`] or a
//! supervisor will catch; the catcher logs it once. Any other panic goes to the previous hook.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::pin::Pin;
use std::sync::Once;
use std::thread;

use serde::Serialize;
use tokio::runtime::Handle;

/// The text and place of a panic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Panic {
    /// The text given to `panic!`.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
    /// Name of the thread.
    pub thread: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panic at {}: {}", self.place, self.message)
    }
}

impl std::error::Error for Panic {}

thread_local! {
    /// The number of active panic catches on this thread's stack.
    static CATCHERS: Cell<u32> = const { Cell::new(0) };
    /// The latest panic that the hook saw, until it is taken.
    static LATEST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Runs `future` to its end or its first panic; panics while it is dropped are caught too.
///
/// Cancel safe if `future` is. If both are dropped half-way, a panic in the drop is caught and logged,
/// because it cannot be returned.
///
/// # Errors
/// The panic.
pub async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut net = Net(Some(Box::pin(future)), Handle::try_current().ok());
    let end = poll_fn(|cx| match &mut net.0 {
        Some(running) => match catch(|| running.as_mut().poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Err(panic).into(),
        },
        None => std::task::Poll::Pending,
    })
    .await;
    let dropped = catch(|| drop(net.0.take()));
    end.and_then(|output| dropped.map(|()| output))
}

/// Catches panics in the destructor of an unfinished future. An event loop that ends drops what it still has outside of
/// itself, where a pool's connection cannot be given back; so it is entered again.
struct Net<F>(Option<Pin<Box<F>>>, Option<Handle>);

impl<F> Drop for Net<F> {
    fn drop(&mut self) {
        let runtime = self.1.take();
        let within = |future| {
            let _context = runtime.as_ref().map(Handle::enter);
            drop(future);
        };
        if let Some(future) = self.0.take()
            && let Err(panic) = catch(|| within(future))
        {
            tracing::error!(%panic, "code that was dropped before its end panicked in a destructor");
        }
    }
}

/// Runs `turn`, and returns its panic as a value.
pub(crate) fn catch<T>(turn: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    CATCHERS.set(CATCHERS.get().saturating_add(1));
    let end = catch_unwind(AssertUnwindSafe(turn));
    CATCHERS.set(CATCHERS.get().saturating_sub(1));
    end.map_err(|payload| {
        let panic = LATEST.take().unwrap_or_else(|| Panic::unseen(&*payload));
        // A payload may be any value, even one whose drop panics.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        panic
    })
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let earlier = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHERS.try_with(Cell::get).unwrap_or(0) == 0 {
                earlier(info);
            } else {
                let _ = LATEST.try_with(|latest| latest.replace(Some(Panic::seen(info))));
            }
        }));
    });
}

impl Panic {
    fn seen(info: &PanicHookInfo<'_>) -> Self {
        let place = info.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        Self { message: text_of(info.payload()), place, thread: thread_name() }
    }

    /// A panic that the hook did not see: it was resumed, or another hook was installed.
    fn unseen(payload: &(dyn Any + Send)) -> Self {
        Self { message: text_of(payload), place: "unknown place".to_owned(), thread: thread_name() }
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

fn thread_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn caught_panic_has_text_and_place() {
        let panic = catch_panic(async { panic!("no {}", "luck") }).await.unwrap_err();
        assert_eq!(panic.message, "no luck");
        assert!(panic.place.starts_with("src/supervision/panic.rs:"), "{}", panic.place);
        assert_eq!(panic.place.split(':').count(), 3, "{}", panic.place);
        assert!(panic.to_string().contains("no luck"), "{panic}");
    }

    #[actix_rt::test]
    async fn quiet_future_gives_its_output() {
        assert_eq!(catch_panic(async { 7 }).await, Ok(7));
    }

    #[actix_rt::test]
    async fn panic_after_an_await_is_caught() {
        let late = async {
            tokio::task::yield_now().await;
            panic!("late")
        };
        assert_eq!(catch_panic(late).await.unwrap_err().message, "late");
    }

    #[actix_rt::test]
    async fn panic_while_dropping_the_future_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        let bomb = Bomb;
        let end = catch_panic(async move {
            let _held = &bomb;
        });
        assert_eq!(end.await.unwrap_err().message, "in drop");
    }

    #[actix_rt::test]
    async fn panic_in_a_destructor_of_a_future_that_is_dropped_half_way_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        let endless = catch_panic(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(std::time::Duration::ZERO, endless).await.is_err());
    }

    #[test]
    fn what_is_left_when_the_event_loop_ends_is_dropped_within_it() {
        struct Connection(std::sync::mpsc::Sender<bool>);
        impl Drop for Connection {
            fn drop(&mut self) {
                self.0.send(Handle::try_current().is_ok()).unwrap();
            }
        }
        let (sender, dropped) = std::sync::mpsc::channel();
        let system = actix_rt::System::new();
        system.block_on(async {
            actix_rt::spawn(catch_panic(async {
                let _held = Connection(sender);
                std::future::pending::<()>().await;
            }));
            tokio::task::yield_now().await;
        });
        drop(system);
        assert_eq!(dropped.recv(), Ok(true));
    }

    #[test]
    fn inner_catcher_takes_its_own_panic() {
        let outer: Result<(), Panic> = catch(|| {
            let inner = catch(|| panic!("inner")).unwrap_err();
            assert_eq!(inner.message, "inner");
            panic!("outer")
        });
        assert_eq!(outer.unwrap_err().message, "outer");
    }

    #[test]
    fn payload_of_any_type_is_caught() {
        let panic = catch(|| std::panic::panic_any(42_u8)).unwrap_err();
        assert_eq!(panic.message, "a panic without text");
        let resumed = catch(|| std::panic::resume_unwind(Box::new("again"))).unwrap_err();
        assert_eq!((resumed.message.as_str(), resumed.place.as_str()), ("again", "unknown place"));
    }

    #[test]
    fn every_profile_unwinds() {
        let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
        let profiles = manifest["profile"].as_table().unwrap();
        assert!(profiles.contains_key("dev") && profiles.contains_key("release"));
        for (name, profile) in profiles {
            let inherits = profile.get("inherits").is_some();
            let panic = profile.get("panic").and_then(toml::Value::as_str);
            assert!(panic == Some("unwind") || (inherits && panic.is_none()), "profile {name}: {panic:?}");
        }
    }
}
