//! A probe's kernel half, loaded: the only part that knows libbpf.

use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::{
    ErrorKind, Iter, Link, Map, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenMapMut,
    Program, ProgramMut,
};
use temblor_event::ProbeCost;

use crate::Error;
use crate::floor::floor_ns;
use crate::kernel::{self, log_libbpf};
use crate::plain::{Plain, as_bytes, from_bytes, from_section};

/// Arrays of one value, such as the sections of global variables are.
const FIRST: [u8; 4] = [0; 4];

/// The programs and maps of one probe. Dropping it takes everything off.
#[derive(Debug)]
pub(crate) struct Loaded {
    links: Vec<Link>,
    object: Object,
    probe: &'static str,
    /// Maps whose memory is not its own: another object's, and those that were not made.
    not_own: Vec<&'static str>,
    /// The kernel counts run time for as long as this is open.
    run_time: Option<OwnedFd>,
}

/// What is settled before loading.
pub(crate) struct Loading<'a, Constants> {
    /// The probe's name, for errors and for libbpf.
    pub(crate) probe: &'static str,
    /// The compiled kernel half.
    pub(crate) object: &'static [u8],
    /// Whether this kernel has what a program needs.
    pub(crate) wants: &'a dyn Fn(&str) -> bool,
    /// Sets the constants.
    pub(crate) constants: &'a dyn Fn(&mut Constants),
    /// Sizes of maps that differ from those in the object.
    pub(crate) sizes: &'a [(&'static str, u32)],
    /// Maps that this kernel cannot make; no program that is loaded uses them.
    pub(crate) without: &'a [&'static str],
    /// Maps of another object's, by the name they have here.
    pub(crate) shared: &'a [(&'static str, BorrowedFd<'a>)],
}

impl Loaded {
    /// Loads what this kernel has hooks for. Nothing is attached yet.
    pub(crate) fn load<Constants: Plain>(how: &Loading<'_, Constants>) -> Result<Self, Error> {
        log_libbpf();
        let probe = how.probe;
        let opening = |source| Error::kernel(format!("open the {probe} probe's programs"), source);
        let mut builder = ObjectBuilder::default();
        let mut open =
            builder.name(probe).map_err(opening)?.open_memory(how.object).map_err(opening)?;
        for mut program in open.progs_mut() {
            let wanted = program.name().to_str().is_some_and(how.wants);
            program.set_autoload(wanted);
        }
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if how.without.iter().any(|without| *without == name) {
                map.set_autocreate(false).map_err(opening)?;
            }
            if let Some((_, size)) = how.sizes.iter().find(|(of, _)| *of == name) {
                map.set_max_entries(*size).map_err(opening)?;
            }
            if let Some((_, fd)) = how.shared.iter().find(|(of, _)| *of == name) {
                map.reuse_fd(*fd).map_err(opening)?;
            }
            if name.ends_with(".rodata") {
                set_constants(&mut map, how.constants)
                    .ok_or(Error::Incomplete { probe, part: ".rodata" })?;
            }
        }
        let object = open.load().map_err(|source| {
            Error::kernel(format!("load the {probe} probe's programs"), source)
        })?;
        let shared = how.shared.iter().map(|(name, _)| name);
        let not_own = shared.chain(how.without).copied().collect();
        Ok(Self { links: Vec::new(), object, probe, not_own, run_time: None })
    }

    /// Attaches every program that was loaded, except these, and has the kernel count what they
    /// cost.
    pub(crate) fn attach_all(&mut self, except: &[&str]) -> Result<(), Error> {
        self.run_time = Some(kernel::count_run_time()?);
        let wanted = |program: &ProgramMut<'_>| {
            program.autoload() && except.iter().all(|name| program.name() != *name)
        };
        for program in self.object.progs_mut().filter(wanted) {
            self.links.push(attach(&program)?);
        }
        Ok(())
    }

    /// Attaches one program for as long as the link is kept.
    pub(crate) fn attach(&self, name: &'static str) -> Result<Link, Error> {
        attach(&self.program(name)?)
    }

    /// Attaches one program to a control group, for as long as the others are.
    pub(crate) fn attach_to_group(
        &mut self,
        name: &'static str,
        group: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let link = self.program(name)?.attach_cgroup(group.as_raw_fd()).map_err(|source| {
            Error::kernel(format!("attach {name} to the first control group"), source)
        })?;
        self.links.push(link);
        Ok(())
    }

    /// Attaches an iterator over a map's entries for as long as the link is kept.
    pub(crate) fn attach_over(&self, name: &'static str, map: &'static str) -> Result<Link, Error> {
        self.program(name)?
            .attach_iter(self.map(map)?.as_fd())
            .map_err(|source| Error::kernel(format!("attach {name} to {map}"), source))
    }

    /// Takes every program off; the maps stay readable.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    pub(crate) fn program(&self, name: &'static str) -> Result<ProgramMut<'_>, Error> {
        let found = self.object.progs_mut().find(|program| program.name() == name);
        found.ok_or(Error::Incomplete { probe: self.probe, part: name })
    }

    pub(crate) fn map(&self, name: &'static str) -> Result<Map<'_>, Error> {
        let found = self.object.maps().find(|map| map.name() == name);
        found.ok_or(Error::Incomplete { probe: self.probe, part: name })
    }

    /// libbpf puts the object's name before the names of some sections.
    fn section(&self, name: &'static str) -> Result<Map<'_>, Error> {
        let ends = |map: &Map<'_>| map.name().to_string_lossy().ends_with(name);
        let found = self.object.maps().find(ends);
        found.ok_or(Error::Incomplete { probe: self.probe, part: name })
    }

    /// The value of a section of global variables.
    pub(crate) fn globals<T: Plain>(&self, section: &'static str) -> Result<T, Error> {
        let bytes = self
            .section(section)?
            .lookup(&FIRST, MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("hand over {section}"), source))?;
        bytes
            .and_then(|bytes| from_section(&bytes))
            .ok_or(Error::Incomplete { probe: self.probe, part: section })
    }

    /// Sets a section of global variables that is a single number.
    pub(crate) fn set_global(&self, section: &'static str, value: u32) -> Result<(), Error> {
        self.section(section)?
            .update(&FIRST, &value.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("set {section}"), source))
    }

    /// Puts an entry into a map.
    pub(crate) fn put<K: Plain, V: Plain>(
        &self,
        map: &'static str,
        key: &K,
        value: &V,
    ) -> Result<(), Error> {
        self.map(map)?
            .update(as_bytes(key), as_bytes(value), MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("put an entry into {map}"), source))
    }

    /// Puts a map into a map of maps.
    pub(crate) fn put_map<K: Plain>(
        &self,
        map: &'static str,
        key: &K,
        inner: &MapHandle,
    ) -> Result<(), Error> {
        let fd = inner.as_fd().as_raw_fd().to_ne_bytes();
        self.map(map)?
            .update(as_bytes(key), &fd, MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("put a map into {map}"), source))
    }

    /// Takes an entry out of a map, if it is there.
    pub(crate) fn remove<K: Plain>(&self, map: &'static str, key: &K) -> Result<(), Error> {
        match self.map(map)?.delete(as_bytes(key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::kernel(format!("take an entry out of {map}"), error))
            }
            _ => Ok(()),
        }
    }

    /// A map's entries, as many as `max`. One that comes or goes meanwhile may be among them or
    /// not.
    pub(crate) fn entries<K: Plain, V: Plain>(
        &self,
        map: &'static str,
        max: usize,
    ) -> Result<Vec<(K, V)>, Error> {
        let of = self.map(map)?;
        let keys: Vec<Vec<u8>> = of.keys().take(max).collect();
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            let value = of
                .lookup(&key, MapFlags::ANY)
                .map_err(|source| Error::kernel(format!("hand over {map}"), source))?;
            let value = value.as_deref().and_then(from_bytes);
            entries.extend(from_bytes(&key).zip(value));
        }
        Ok(entries)
    }

    /// The same of a map that has a value for each processor.
    pub(crate) fn entries_per_processor<K: Plain, V: Plain>(
        &self,
        map: &'static str,
        max: usize,
    ) -> Result<Vec<(K, Vec<V>)>, Error> {
        let keys: Vec<Vec<u8>> = self.map(map)?.keys().take(max).collect();
        let keys = keys.iter().filter_map(|key| from_bytes::<K>(key));
        keys.map(|key| Ok((key, self.per_processor(map, &key)?))).collect()
    }

    /// The value of an entry.
    pub(crate) fn entry<K: Plain, V: Plain>(&self, map: &'static str, key: &K) -> Result<V, Error> {
        let value = self
            .map(map)?
            .lookup(as_bytes(key), MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("hand over {map}"), source))?;
        let value = value.and_then(|value| from_bytes(&value));
        value.ok_or(Error::Incomplete { probe: self.probe, part: map })
    }

    /// The values of an entry on every processor; none where there is no such entry.
    pub(crate) fn per_processor<K: Plain, V: Plain>(
        &self,
        map: &'static str,
        key: &K,
    ) -> Result<Vec<V>, Error> {
        let values = self
            .map(map)?
            .lookup_percpu(as_bytes(key), MapFlags::ANY)
            .map_err(|source| Error::kernel(format!("hand over {map}"), source))?;
        Ok(values.unwrap_or_default().iter().filter_map(|value| from_bytes(value)).collect())
    }

    /// What each program that was loaded has cost so far.
    pub(crate) fn runs(&self) -> Result<Vec<kernel::Run>, Error> {
        self.object
            .progs()
            .filter(Program::autoload)
            .map(|program| {
                let name = program.name().to_string_lossy();
                kernel::program_run(&name, program.as_fd()).map_err(|source| Error::System {
                    doing: format!("read what the program {name} cost"),
                    source,
                })
            })
            .collect()
    }

    /// The same, as the run's account has it.
    pub(crate) fn cost(&self, events: u64) -> Result<ProbeCost, Error> {
        let programs = self.runs()?.into_iter().map(|run| run.cost).collect();
        let map_bytes = self.map_bytes()?;
        Ok(ProbeCost {
            probe: self.probe.into(),
            programs,
            events,
            floor_ns: floor_ns(),
            map_bytes,
        })
    }

    /// What the programs have taken so far, without what the counting takes, nanoseconds.
    pub(crate) fn spent_ns(&self) -> Result<u64, Error> {
        let floor_ns = floor_ns().unwrap_or(0);
        Ok(self.runs()?.iter().map(|run| run.cost.net_ns(floor_ns)).sum())
    }

    /// Memory of the kernel's that its maps hold, as the kernel accounts for it.
    fn map_bytes(&self) -> Result<u64, Error> {
        let own = |map: &Map<'_>| self.not_own.iter().all(|name| map.name() != *name);
        self.object
            .maps()
            .filter(own)
            .map(|map| {
                kernel::map_bytes(map.as_fd()).map_err(|source| Error::System {
                    doing: format!("read how much memory {} holds", map.name().to_string_lossy()),
                    source,
                })
            })
            .sum()
    }
}

fn set_constants<T: Plain>(map: &mut OpenMapMut<'_>, set: &dyn Fn(&mut T)) -> Option<()> {
    let section = map.initial_value_mut()?;
    let mut constants = from_section::<T>(section)?;
    set(&mut constants);
    let shared = section.len().min(size_of::<T>());
    section[..shared].copy_from_slice(&as_bytes(&constants)[..shared]);
    Some(())
}

/// Runs an attached iterator once over `what`: "the processes".
pub(crate) fn walk(iterator: &Link, what: &str) -> Result<(), Error> {
    let doing = || format!("look at {what}");
    let mut all = Iter::new(iterator).map_err(|source| Error::kernel(doing(), source))?;
    all.read_to_end(&mut Vec::new()).map_err(|source| Error::System { doing: doing(), source })?;
    Ok(())
}

fn attach(program: &ProgramMut<'_>) -> Result<Link, Error> {
    program.attach().map_err(|source| {
        Error::kernel(format!("attach {}", program.section().to_string_lossy()), source)
    })
}
