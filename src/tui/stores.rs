//! Many stores on one screen: a line each, looked at one after another. Enter opens one, Esc comes
//! back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use jiff::Timestamp;
use ratatui::layout::Rect;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::input::action::Action;
use super::input::keymap::{Key, Keymap};
use super::runtime::signals::Outside;
use super::view::stores::Picture;
use super::view::theme::{Depth, Theme};
use super::{End, Options, Screen, input};
use crate::config::Config;
use crate::monitor::Monitor;
use crate::observation::overview::Overview;
use crate::store::Store;

/// The time between two rounds through all stores.
const BETWEEN: Duration = Duration::from_secs(2);
/// How soon somebody who comes back, or leaves, is noticed meanwhile.
const STEP: Duration = Duration::from_millis(100);

/// A store of the list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// As people name it.
    pub name: String,
    /// Where it is.
    pub store: Store,
    /// Its settings.
    pub config: Config,
}

/// Finds the stores.
pub type Find = Arc<dyn Fn() -> Vec<Listed> + Send + Sync>;
/// Says how one of them is opened.
pub type Open = Box<dyn Fn(&Listed) -> Result<Options>>;

/// What the list is opened with.
pub struct Many {
    /// What stands in the first row.
    pub title: String,
    /// Finds the stores, again and again: they come and go.
    pub find: Find,
    /// How one of them is opened.
    pub open: Open,
    /// Colours, keys and manners of the list itself.
    pub config: Config,
    /// Take the mouse.
    pub mouse: bool,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// dark, light, high-contrast or colour-blind.
    pub theme: String,
}

/// What a round through the stores found.
type Round = Vec<(Listed, Overview)>;

/// Shows the list until somebody quits. Needs a terminal on stdout.
pub fn run(many: Many) -> Result<End> {
    super::in_runtime(show(many))
}

async fn show(many: Many) -> Result<End> {
    let mut screen = Screen::enter(many.mouse && many.config.dashboard.mouse)?;
    let palette = many.theme.parse();
    let palette = palette.map_err(|_| anyhow!("'{}' is not a theme", many.theme))?;
    let variable = |name: &str| std::env::var(name).ok();
    let depth = if many.config.dashboard.color {
        Depth::detect(variable)
    } else {
        Depth::None
    };
    let keymap = Keymap::new(&many.config.keys);
    let keymap = keymap.map_err(|refused| anyhow!("keys: {}", refused.problem))?;
    let (found, rounds) = mpsc::unbounded_channel();
    let scan = Scan::start(Arc::clone(&many.find), found)?;
    let (columns, rows) = input::size();
    let mut list = List {
        picture: Picture {
            title: many.title.clone(),
            lines: Vec::new(),
            selected: 0,
            area: Rect::new(0, 0, columns, rows),
            theme: Theme { palette, depth },
            ascii: many.ascii
                || many.config.dashboard.ascii
                || !crate::text::locale::locale_is_utf8(variable),
            looked: None,
        },
        stores: Vec::new(),
        rounds,
        keymap,
    };
    loop {
        scan.paused.store(false, Ordering::Relaxed);
        let chosen = match list.choose(&mut screen).await? {
            Ok(chosen) => chosen,
            Err(end) => return Ok(end),
        };
        // Who looks at one store does not pay for the others.
        scan.paused.store(true, Ordering::Relaxed);
        let options = Options {
            is_listed: true,
            ..(many.open)(&chosen)?
        };
        let settings = super::settings(&options)?;
        match super::show_in(options, settings, &mut screen).await? {
            End::Back => screen.terminal.forget(),
            end => return Ok(end),
        }
        let (columns, rows) = input::size();
        list.picture.area = Rect::new(0, 0, columns, rows);
    }
}

/// The thread that looks at the stores.
struct Scan {
    paused: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Scan {
    fn start(find: Find, to: UnboundedSender<Round>) -> Result<Self> {
        let scan = Self {
            paused: Arc::default(),
            over: Arc::default(),
        };
        let (paused, over) = (Arc::clone(&scan.paused), Arc::clone(&scan.over));
        let work = move || {
            let mut monitors: BTreeMap<PathBuf, Monitor> = BTreeMap::new();
            let mut seen: Round = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let stores = find();
                monitors.retain(|root, _| {
                    let mut roots = stores.iter().map(|listed| listed.store.layout.root());
                    roots.any(|own| own == root)
                });
                let known = |listed: &Listed| {
                    let mut before = seen.iter();
                    let before = before.find(|(own, _)| own.store.layout == listed.store.layout);
                    before.map(|(_, line)| line.clone()).unwrap_or_default()
                };
                let mut round: Round = stores
                    .into_iter()
                    .map(|listed| (known(&listed), listed))
                    .map(|(line, listed)| (listed, line))
                    .collect();
                for at in 0..round.len() {
                    if over.load(Ordering::Relaxed) || paused.load(Ordering::Relaxed) {
                        break;
                    }
                    let Some((listed, line)) = round.get_mut(at) else {
                        break;
                    };
                    let root = listed.store.layout.root().to_path_buf();
                    let monitor = monitors.entry(root).or_insert_with(|| {
                        Monitor::new(listed.store.clone(), listed.config.clone())
                    });
                    *line = Overview::of(&monitor.observe(Timestamp::now()));
                    // Each line as soon as it is known.
                    if to.send(round.clone()).is_err() {
                        return;
                    }
                }
                if round.is_empty() && to.send(Vec::new()).is_err() {
                    return;
                }
                seen = round;
                let mut waited = Duration::ZERO;
                while !over.load(Ordering::Relaxed)
                    && (waited < BETWEEN || paused.load(Ordering::Relaxed))
                {
                    std::thread::sleep(STEP);
                    waited += STEP;
                }
            }
        };
        let thread = std::thread::Builder::new().name("stores".to_owned());
        thread
            .spawn(work)
            .context("cannot start the thread that looks at the stores")?;
        Ok(scan)
    }
}

/// The list, and who is chosen in it.
struct List {
    picture: Picture,
    stores: Vec<Listed>,
    rounds: UnboundedReceiver<Round>,
    keymap: Keymap,
}

impl List {
    /// Shows the list until one is chosen, or somebody leaves.
    async fn choose(&mut self, screen: &mut Screen) -> Result<Result<Listed, End>> {
        loop {
            if screen.terminal.put(self.picture.draw(), None).is_err() {
                return Ok(Err(End::Interrupted));
            }
            let mut events = Vec::new();
            tokio::select! {
                event = screen.input.recv() => events.extend(event),
                round = self.rounds.recv() => match round {
                    Some(round) => self.take(round),
                    None => return Err(anyhow!("the thread that looks at the stores has ended")),
                },
                outside = screen.outside.recv() => match outside.unwrap_or(Outside::End) {
                    Outside::End => return Ok(Err(End::Interrupted)),
                    Outside::Stop => {
                        screen.terminal.suspend().context("cannot take the terminal again")?;
                        self.resized();
                    }
                    Outside::Continue => {
                        screen.terminal.resume().context("cannot take the terminal again")?;
                        self.resized();
                    }
                    Outside::Resized => {
                        screen.terminal.forget();
                        self.resized();
                    }
                },
            }
            while let Ok(event) = screen.input.try_recv() {
                events.push(event);
            }
            for event in events {
                if let Event::Key(key) = event
                    && key.kind != KeyEventKind::Release
                {
                    let interrupt = key.code == KeyCode::Char('c')
                        && key.modifiers.contains(KeyModifiers::CONTROL);
                    let action = self.keymap.action(Key::from(key));
                    if interrupt || action == Some(Action::Quit) {
                        return Ok(Err(End::Quit));
                    }
                    if action == Some(Action::Open)
                        && let Some(listed) = self.stores.get(self.picture.selected)
                    {
                        return Ok(Ok(listed.clone()));
                    }
                    self.go(action);
                }
            }
        }
    }

    fn resized(&mut self) {
        let (columns, rows) = input::size();
        self.picture.area = Rect::new(0, 0, columns, rows);
    }

    fn go(&mut self, action: Option<Action>) {
        let last = self.stores.len().saturating_sub(1);
        let at = self.picture.selected;
        let page = usize::from(self.picture.area.height.saturating_sub(4)).max(1);
        self.picture.selected = match action {
            Some(Action::Down) => at + 1,
            Some(Action::Up) => at.saturating_sub(1),
            Some(Action::PageDown) => at + page,
            Some(Action::PageUp) => at.saturating_sub(page),
            Some(Action::Top) => 0,
            Some(Action::Bottom) => last,
            _ => at,
        }
        .min(last);
    }

    /// Takes what a round found; the selected store stays selected wherever it stands now.
    fn take(&mut self, round: Round) {
        let selected = self.stores.get(self.picture.selected);
        let root = selected.map(|listed| listed.store.layout.root().to_path_buf());
        self.picture.looked = Some(Timestamp::now());
        let (stores, lines) = round
            .into_iter()
            .map(|(listed, line)| {
                let name = listed.name.clone();
                (listed, (name, line))
            })
            .unzip();
        (self.stores, self.picture.lines) = (stores, lines);
        let same = |listed: &Listed| Some(listed.store.layout.root()) == root.as_deref();
        let place = self.stores.iter().position(same);
        self.picture.selected = place
            .unwrap_or(self.picture.selected)
            .min(self.stores.len().saturating_sub(1));
    }
}
