//! The terminal, as long as it is ours: drawn once a second, and at once when a key is pressed. It
//! is put back however this ends: by a key, by a signal, by a panic.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use temblor_event::{Body, clock};
use temblor_runner::Stop;

use super::draw::{Chosen, columns, draw};
use super::model::Model;
use crate::exit::Failure;
use crate::watched::input;

const SECOND_NS: u64 = 1_000_000_000;
/// How often it is looked whether all is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Says so where there is no terminal to draw on.
pub(in crate::trace) fn wants_terminal() -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || dumb {
        return Err(input(
            "--top draws on a terminal, and this is none; leave it out for lines, or give --json \
             or --prometheus"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Gives the terminal back, if it is ours.
pub(crate) fn leave() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        ratatui::restore();
    }
}

/// The full screen. Dropping it gives the terminal back.
#[derive(Debug)]
pub(in crate::trace) struct Screen {
    model: Arc<Mutex<Model>>,
    stop: Stop,
    drawing: Option<JoinHandle<io::Result<()>>>,
    began_ns: u64,
}

impl Screen {
    /// Nothing is drawn before there is something to draw: why nothing could be attached is said
    /// where the user still sees it.
    pub(in crate::trace) fn new(stop: &Stop) -> Self {
        let began_ns = clock::now_ns();
        Self { model: Arc::default(), stop: stop.clone(), drawing: None, began_ns }
    }

    pub(in crate::trace) fn add(&mut self, body: &Body) {
        lock(&self.model).add(body);
        if self.drawing.is_none() && self.stop.requested().is_none() {
            let (model, stop, began_ns) =
                (Arc::clone(&self.model), self.stop.clone(), self.began_ns);
            let drawing = std::thread::Builder::new().name("screen".into()).spawn(move || {
                let drawn = run(&model, &stop, began_ns);
                leave();
                // Whoever cannot see it any more does not want it to go on.
                stop.request("the screen is closed");
                drawn
            });
            match drawing {
                Ok(drawing) => self.drawing = Some(drawing),
                Err(error) => self.stop.request(format!("the screen cannot be drawn: {error}")),
            }
        }
    }

    /// Gives the terminal back, and says what went wrong with it.
    pub(in crate::trace) fn close(&mut self) -> Result<(), Failure> {
        self.stop.request("the screen is closed");
        let ended = self.drawing.take().map(JoinHandle::join);
        leave();
        match ended {
            Some(Ok(Err(error))) => {
                let what = anyhow::Error::new(error).context("the screen could not be drawn");
                Err(Failure::other(what))
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.stop.request("the screen is closed");
        if let Some(drawing) = self.drawing.take()
            && drawing.join().is_err()
        {
            tracing::error!("the screen's thread panicked");
        }
        leave();
    }
}

fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    // A panic elsewhere leaves whole figures.
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(model: &Mutex<Model>, stop: &Stop, began_ns: u64) -> io::Result<()> {
    TAKEN.store(true, Ordering::Release);
    // Also has a panic give the terminal back before it says what happened.
    let mut terminal = ratatui::try_init()?;
    let mut chosen = Chosen { sorted_by: Some(0), ..Chosen::default() };
    let mut second_ns = clock::now_ns();
    let mut changed = true;
    while stop.requested().is_none() {
        let now_ns = clock::now_ns();
        if now_ns >= second_ns + SECOND_NS {
            lock(model).second(now_ns - second_ns);
            second_ns = now_ns;
            changed = true;
        }
        if changed {
            let running_s = (now_ns - began_ns) / SECOND_NS;
            let model = lock(model);
            terminal.draw(|frame| draw(frame, &model, &chosen, running_s))?;
        }
        changed = event::poll(LOOK_EVERY)? && {
            match event::read()? {
                Input::Key(key) if key.kind != KeyEventKind::Release => {
                    press(key, &mut chosen, &lock(model), stop)
                }
                Input::Resize(..) => true,
                _ => false,
            }
        };
    }
    Ok(())
}

/// Whether something has changed by it.
fn press(key: KeyEvent, chosen: &mut Chosen, model: &Model, stop: &Stop) -> bool {
    let last = model.targets.len().saturating_sub(1);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => stop.request("Ctrl-C"),
        KeyCode::Char('q') | KeyCode::Esc => stop.request("the user has seen enough"),
        KeyCode::Up | KeyCode::Char('k') => chosen.row = chosen.row.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => chosen.row = (chosen.row + 1).min(last),
        KeyCode::Char('s') => {
            let next = chosen.sorted_by.map_or(0, |at| at + 1);
            chosen.sorted_by = (next < columns(model).len()).then_some(next);
        }
        KeyCode::Char('r') => chosen.reversed = !chosen.reversed,
        _ => return false,
    }
    true
}
