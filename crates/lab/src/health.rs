//! Asking a service whether it is well, from where its clients are: the host.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::launch::{self, Place};
use crate::plan::{HealthPlan, ServicePlan};

/// A service that takes longer than this to answer is not well.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Asks once. The error says what was the matter.
pub(crate) async fn check(service: &ServicePlan) -> Result<(), String> {
    let address = SocketAddr::from((service.address, service.port));
    let answer = async {
        match &service.health {
            HealthPlan::Tcp => connect(address).await.map(|_| ()),
            HealthPlan::Http(path) => http(address, service.address, path).await,
            HealthPlan::Command(command) => run(service, command).await,
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer from {address} within {} s", ANSWER_WITHIN.as_secs())),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("connecting to {address}: {error}"))
}

async fn http(address: SocketAddr, host: Ipv4Addr, path: &str) -> Result<(), String> {
    let said = |error: hyper::Error| format!("GET http://{address}{path}: {error}");
    let stream = TokioIo::new(connect(address).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(said)?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, host.to_string())
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    // Both in this one future, so that a time-out drops the connection as well.
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(said)?,
        Err(error) = connection => return Err(said(error)),
    };
    match response.status() {
        hyper::StatusCode::OK => Ok(()),
        status => Err(format!("GET http://{address}{path} answered {status}")),
    }
}

async fn run(service: &ServicePlan, command: &crate::plan::Command) -> Result<(), String> {
    let name = command.program.display();
    let said = |error: std::io::Error| format!("{name}: {error}");
    let place = Place {
        user: &service.user,
        netns: None,
        group: None,
        dir: &service.run,
        on_supervisor_death: Signal::KILL,
    };
    // What it has to say while the service is on its way up would fill the log; its status is
    // the answer.
    let quiet = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(said)?;
    let mut child = launch::spawn(command, &place, Stdio::null(), quiet).map_err(said)?;
    match child.wait().await.map_err(said)? {
        status if status.success() => Ok(()),
        status => Err(format!("{name} ended with {status}")),
    }
}
