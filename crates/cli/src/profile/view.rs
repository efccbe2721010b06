//! `temblor profile view`: profiles in a browser.

use std::io::BufReader;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_profile::CallTree;
use temblor_view::{Views, serve};

use super::files::{self, name_of, of_input};
use crate::exit::{Exit, Failure};
use crate::terminal::{print, say};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The page shows flamegraphs, tables, callers, and what one of the profiles \
    has more than another; where the samples have times (temblor profile cpu --timeline) also \
    when it was, and a part of the time alone. Whoever can reach the address sees the profiles: \
    keep to the loopback address, or use a tunnel such as ssh -L.\n\nExample: temblor profile view \
    before.pb.gz after.pb.gz --listen 127.0.0.1:8080"
)]
pub(crate) struct View {
    /// pprof profiles, folded stacks, or what `perf script` printed; - is standard input
    #[arg(value_name = "PROFILE", required = true, num_args = 1..)]
    pub(crate) profiles: Vec<PathBuf>,
    /// The address to serve the page on; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

/// Serves the page until a signal comes.
pub(super) fn view(args: &View) -> Result<Exit, Failure> {
    let mut views = Views::new();
    for path in &args.profiles {
        let (tree, kind) = read(path)?;
        views.add(name_of(path), tree, kind);
    }
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}", args.listen))
        .map_err(Failure::input)?;
    // Until there is something to end, a signal ends the program as usual.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::other)?;
    let server = serve(listener, views).map_err(Failure::other)?;
    let address = server.address();
    if !address.ip().is_loopback() {
        say("whoever can reach this address sees the profiles");
    }
    print(&format!("http://{address}/"));
    say("Ctrl-C ends it");
    signals.forever().next();
    Ok(Exit::Pass)
}

/// The calls in a file, and the type that is shown first.
fn read(path: &Path) -> Result<(CallTree, usize), Failure> {
    // Stacks that are folded already need not be held one by one.
    if let Some(file) = files::folded_file(path)? {
        let tree = CallTree::read_folded(BufReader::with_capacity(1 << 20, file));
        return Ok((tree.map_err(|error| of_input(path, error))?, 0));
    }
    let profile = files::read(path)?;
    let kind = profile.type_index(None).map_err(|error| of_input(path, error))?;
    Ok((CallTree::of(&profile), kind))
}
