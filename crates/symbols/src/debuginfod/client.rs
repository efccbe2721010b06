//! Asks for files, and keeps what comes.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::settings::DebuginfodSettings;
use crate::elf::BuildId;
use crate::held::Contents;
use crate::open;

/// A server that is there answers at once.
const CONNECTING_MAX: Duration = Duration::from_secs(10);
/// What a server says that it does not have: not found, gone, and larger than was wanted.
const HAS_NOT: [u16; 3] = [404, 410, 406];
const TROUBLES_MAX: usize = 32;

/// Fetches debug files. A server that fails is asked no more; that it does not have a file is no
/// failure.
#[derive(Debug)]
pub struct Debuginfod {
    settings: DebuginfodSettings,
    pub(super) agent: Agent,
    /// Which of the servers are still asked.
    asked: Vec<bool>,
    /// What nobody has is not asked for again.
    missing: HashSet<BuildId>,
    time_left: Duration,
    troubles: Vec<String>,
}

/// Why a file did not come.
enum Failure {
    /// The server has it not.
    Missing,
    /// The file cannot be used.
    Refused(String),
    /// The server does not do what it should.
    Server(String),
    /// It is not the server's fault, and with another one it would be the same.
    Own(String),
}

impl Debuginfod {
    /// One that has asked nobody yet. Proxies are those of the environment, and certificates
    /// those that the machine trusts.
    #[must_use]
    pub fn new(settings: DebuginfodSettings) -> Self {
        let agent = agent(&settings, Proxy::try_from_env());
        let mut new = Self {
            asked: vec![true; settings.servers.len()],
            agent,
            missing: HashSet::new(),
            time_left: settings.fetching_max,
            troubles: Vec::new(),
            settings,
        };
        if new.settings.cache.is_none() {
            new.give_up(
                "DEBUGINFOD_URLS names servers, but there is no directory to keep what comes: set \
                 DEBUGINFOD_CACHE_PATH"
                    .into(),
            );
        }
        new
    }

    /// What went wrong, for people: each server's failure, and each file that came and was not
    /// used.
    #[must_use]
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// The debug file of a build, kept or fetched. Nothing but a file that says that it is of
    /// that build is given.
    pub(crate) fn debug_file(&mut self, id: &BuildId) -> Option<Contents> {
        let directory = self.settings.cache.as_ref()?.join(id.to_string());
        let path = directory.join("debuginfo");
        if let Some(kept) = open::regular(&path).ok().and_then(|file| of_build(file, id)) {
            return Some(kept);
        }
        for server in 0..self.asked.len() {
            if !self.asked[server] || self.missing.contains(id) {
                continue;
            }
            #[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
            let began = Instant::now();
            let fetched = self.fetch(&self.settings.servers[server], id, &directory);
            self.time_left = self.time_left.saturating_sub(began.elapsed());
            let from = &self.settings.servers[server];
            match fetched {
                Ok(contents) => return Some(contents),
                Err(Failure::Missing) => {}
                Err(Failure::Refused(why)) => {
                    let trouble = format!("the debug file of build {id} from {from}: {why}");
                    self.tell(trouble);
                }
                Err(Failure::Server(why)) => {
                    let trouble = format!("{from} is asked for debug files no more: {why}");
                    self.asked[server] = false;
                    self.tell(trouble);
                }
                Err(Failure::Own(why)) => self.give_up(why),
            }
            if self.time_left.is_zero() && self.asked.contains(&true) {
                let after = self.settings.fetching_max.as_secs();
                self.give_up(format!("no more debug files are fetched after {after} s of it"));
            }
        }
        self.missing.insert(id.clone());
        None
    }

    fn tell(&mut self, trouble: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }

    fn give_up(&mut self, why: String) {
        self.asked.fill(false);
        self.tell(why);
    }

    fn fetch(&self, server: &str, id: &BuildId, directory: &Path) -> Result<Contents, Failure> {
        let url = format!("{server}/buildid/{id}/debuginfo");
        let request = self.agent.get(&url).config().timeout_global(Some(self.time_left)).build();
        let answer = request.call().map_err(|error| Failure::Server(chain(&error)))?;
        match answer.status().as_u16() {
            200 => {}
            status if HAS_NOT.contains(&status) => return Err(Failure::Missing),
            status => return Err(Failure::Server(format!("it answers {status}"))),
        }
        let cannot_keep = |error: io::Error| {
            let at = directory.display();
            Failure::Own(format!(
                "debug files cannot be kept in {at}: {error}; set DEBUGINFOD_CACHE_PATH to a \
                 directory that can be written to"
            ))
        };
        fs::create_dir_all(directory).map_err(cannot_keep)?;
        // What is written only in part has another name, and goes away by itself. Root keeps it in
        // the directory of whoever calls sudo with their environment, whose tools read it too.
        let mut kept = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)
            .map_err(cannot_keep)?;
        let copied = self.copy(answer.into_body(), &mut kept, cannot_keep);
        let used = copied.and_then(|()| {
            let file = kept.reopen().map_err(cannot_keep)?;
            let why = "what comes is of another build, or no ELF file";
            let contents = of_build(file, id).ok_or_else(|| Failure::Server(why.into()))?;
            kept.persist(directory.join("debuginfo")).map_err(|error| cannot_keep(error.error))?;
            Ok(contents)
        });
        if used.is_err() {
            // It stays if there is something else in it.
            let _ = fs::remove_dir(directory);
        }
        used
    }

    fn copy(
        &self,
        body: Body,
        kept: &mut NamedTempFile,
        cannot_keep: impl Fn(io::Error) -> Failure,
    ) -> Result<(), Failure> {
        let bytes_max = self.settings.bytes_max;
        let too_large = || Failure::Refused(format!("it has more than {bytes_max} bytes"));
        if body.content_length().is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        let mut body = body.into_reader();
        let mut piece = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let read = match body.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Server(chain(&error))),
            };
            bytes += read as u64;
            if bytes > bytes_max {
                return Err(too_large());
            }
            io::Write::write_all(kept, &piece[..read]).map_err(&cannot_keep)?;
        }
    }
}

pub(super) fn agent(settings: &DebuginfodSettings, proxy: Option<Proxy>) -> Agent {
    let silent_max = Some(settings.silent_max);
    // As other programs of this machine do, which may trust a company's own.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .user_agent(concat!("temblor/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .proxy(proxy)
        .tls_config(tls)
        .timeout_resolve(Some(CONNECTING_MAX.min(settings.silent_max)))
        .timeout_connect(Some(CONNECTING_MAX.min(settings.silent_max)))
        .timeout_recv_response(silent_max)
        .timeout_per_read(silent_max)
        .build()
        .into()
}

fn of_build(file: fs::File, id: &BuildId) -> Option<Contents> {
    let contents = Contents::new(file).ok()?;
    (contents.image.build_id.as_ref() == Some(id)).then_some(contents)
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
