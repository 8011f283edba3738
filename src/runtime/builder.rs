//! A process of one's own: the settings, and the jobs that it has beside Tikkun's.

use super::service::{Service, StartError};
use super::shutdown::Signals;
use crate::config::Settings;
use crate::job::{Job, KindClash, Registry};
use crate::kinds::check_own;

/// Collects kinds of jobs for a [`Service`]; [`Service::builder`] makes one.
///
/// ```
/// use tikkun::config::{Settings, Sources};
/// use tikkun::job::{Completion, Job, JobContext, JobResult, NewJob};
/// use tikkun::runtime::{Ended, Service, System};
///
/// struct Greeting;
///
/// impl Job for Greeting {
///     const NAME: &'static str = "shop.greet";
///     type Args = (String,);
///
///     async fn run(&self, (name,): (String,), _: &JobContext) -> JobResult {
///         Ok(Completion::Finished(format!("hello, {name}").into()))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let data = folder.path().display().to_string();
/// let sources = Sources::none().set("service.data", data).set("http.enabled", "false");
/// let settings = Settings::load(&sources)?.settings;
/// let ended = System::new().block_on(async {
///     let service = Service::builder(settings).with(Greeting).start().await?;
///     let broker = service.ports().broker.clone();
///     broker.enqueue(&[NewJob::of::<Greeting>("greet-1", "default", &("Dana".to_owned(),))?]).await?;
///     let done = async move {
///         while broker.job(&"greet-1".into()).await.is_ok_and(|job| job.is_some_and(|job| job.state.is_open())) {
///             tokio::time::sleep(std::time::Duration::from_millis(20)).await;
///         }
///     };
///     Ok::<_, Box<dyn std::error::Error>>(service.run_until(done).await)
/// })?;
/// assert_eq!(ended, Ended::Drained);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing starts before `start`"]
pub struct ServiceBuilder {
    settings: Settings,
    own: Registry,
    clash: Option<KindClash>,
}

impl ServiceBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, own: Registry::default(), clash: None }
    }

    /// Adds a kind of job. A name that is taken is told by [`start`](Self::start); kinds that share only the
    /// last part of their names answer to their full ones alone.
    pub fn with<J: Job>(mut self, job: J) -> Self {
        let clash = self.own.free_for::<J>().err();
        self.clash = self.clash.or(clash);
        self.own = self.own.with(job);
        self
    }

    /// Starts everything, on the arbiter of this thread. Must be called inside an actix system.
    ///
    /// # Errors
    /// Two kinds of one name, before anything is opened; what cannot be opened or started. Nothing is left
    /// running.
    pub async fn start(self) -> Result<Service, StartError> {
        match self.clash {
            Some(clash) => Err(clash.into()),
            None => {
                check_own(&self.own)?;
                Service::start_with(self.settings, self.own, Signals::listen()?).await
            }
        }
    }
}
