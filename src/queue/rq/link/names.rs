//! Looks up the server's name. A resolver may take longer for each look-up than an attempt to connect may last, as while
//! the first of its servers is away. So a look-up goes on when that attempt is over, and a later one has its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::io::AsyncDNSResolver;
use redis::{ConnectionAddr, ConnectionInfo, RedisFuture};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::Instant;

/// The answers of look-ups that took longer are kept; after a failover every other look-up is made anew.
const SLOW: Duration = Duration::from_secs(1);
/// How long they are kept: longer than any pause between two attempts to connect.
const KEPT: Duration = Duration::from_secs(10);

/// Where the name leads, with when that was found.
type Found = (Instant, Vec<SocketAddr>);

/// The look-ups for one server. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::queue::rq) struct Names {
    /// The newest answer that was slow.
    late: Arc<watch::Sender<Option<Found>>>,
}

impl Names {
    /// Looks up the server's name, and returns how long that took.
    pub(in crate::queue::rq) async fn time_to_find(&self, server: &ConnectionInfo) -> io::Result<Duration> {
        let begun = Instant::now();
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = server.addr() {
            self.late_or(look_up(host.clone(), *port)).await?;
        }
        Ok(begun.elapsed())
    }

    /// The answer of this look-up, or the late one of an earlier look-up if that comes first.
    async fn late_or(
        &self,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        let mut late = self.late.subscribe();
        if let Some((came, found)) = &*late.borrow_and_update()
            && came.elapsed() < KEPT
        {
            return Ok(found.clone());
        }
        let (begun, answers) = (Instant::now(), Arc::clone(&self.late));
        let own = tokio::spawn(async move {
            let found = look_up.await?;
            if begun.elapsed() > SLOW {
                answers.send_replace(Some((Instant::now(), found.clone())));
            }
            Ok(found)
        });
        tokio::select! {
            biased;
            own = own => own.map_err(io::Error::other)?,
            Ok(()) = late.changed() => Ok(late.borrow().as_ref().map(|(_, found)| found.clone()).unwrap_or_default()),
        }
    }
}

impl AsyncDNSResolver for Names {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found = self.late_or(look_up(host.to_owned(), port)).await?;
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    fn at(port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[tokio::test]
    async fn answer_that_comes_after_its_attempt_serves_the_next_ones() {
        let (names, (resolver, answer)) = (Names::default(), oneshot::channel());
        let first = names.late_or(async { answer.await.map_err(io::Error::other)? });
        timeout(SLOW * 2, first).await.unwrap_err();
        let answered = async { resolver.send(at(1)).unwrap() };
        let (second, ()) = tokio::join!(names.late_or(pending()), answered);
        assert_eq!(second.unwrap(), at(1).unwrap(), "while its own look-up is under way");
        assert_eq!(names.late_or(pending()).await.unwrap(), at(1).unwrap(), "after a pause");
    }

    #[tokio::test]
    async fn answer_that_comes_soon_serves_one_attempt() {
        let names = Names::default();
        for port in [1, 2] {
            assert_eq!(names.late_or(ready(at(port))).await.unwrap(), at(port).unwrap());
        }
        let fault = || Err(io::Error::other("no such name"));
        assert_eq!(names.late_or(ready(fault())).await.unwrap_err().to_string(), "no such name");
    }
}
