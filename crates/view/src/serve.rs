//! The page over HTTP.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use temblor_http::{Limits, Page, Server};

use crate::answer::{Todo, failed, made, todo};
use crate::views::Views;

/// Large profiles take seconds.
const LIMITS: Limits = Limits { connections_max: 32, answer_takes: Duration::from_secs(120) };

/// Serves the views on a listener, until the server is dropped.
///
/// # Errors
/// The thread cannot be started, or the listener is none.
pub fn serve(listener: TcpListener, views: Views) -> io::Result<Server> {
    let views = Arc::new(views);
    Server::start(listener, LIMITS, move |request| answer(request, Arc::clone(&views)))
}

/// Answers are made beside the server's thread, which goes on handing out what there is.
async fn answer<B>(request: Request<B>, views: Arc<Views>) -> Page {
    match todo(&request) {
        Todo::Done(answer) => answer,
        Todo::Make(ask) => {
            let made = tokio::task::spawn_blocking(move || made(&views, ask)).await;
            made.unwrap_or_else(|error| {
                tracing::error!(%error, "an answer could not be made");
                failed()
            })
        }
    }
}
