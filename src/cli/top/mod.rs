//! `hale top`: the running server's targets, live.

mod model;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{Terminal, backend::Backend};
use serde::Deserialize;

use super::client::Client;
use super::outcome::{Failure, Outcome};
use super::server::{ServerArgs, variable};
use super::status::now_s;
use crate::model::report::{Status, TargetReport};
use model::{Flow, Model, Sample};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Keys: q quits, s, left and right change the order, / filters (Enter keeps the filter, Esc clears it), up, down, PgUp, PgDn, Home and End move, ? explains. \
NO_COLOR takes the colours away.")]
pub(super) struct TopArgs {
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &TopArgs) -> Outcome {
    let client = args.server.client()?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::usage("`hale top` needs a terminal")
            .hint("`hale status` and GET /api/v1/targets tell the same once"));
    }
    // A server that is not there is told before the screen is taken.
    let first = look(&client)?;
    let (samples, received) = channel();
    let (letting_go, let_go) = channel::<()>();
    let interval = Duration::from_secs(args.interval);
    let looking = thread::Builder::new()
        .name("look".into())
        .spawn(move || keep_looking(&client, interval, &samples, &let_go))
        .map_err(|error| Failure::running(error.to_string()))?;
    let mut model = Model::default();
    model.update(first);
    // https://no-color.org: set and not empty, whatever it says.
    let colours = variable("NO_COLOR").is_none();
    let mut terminal = ratatui::try_init().map_err(|error| cannot_draw(&error))?;
    let shown = show(&mut terminal, &mut model, &received, colours);
    ratatui::restore();
    drop(letting_go);
    drop(received);
    // It ends with its present look, which is bounded by the client's patience; nobody waits for that.
    drop(looking);
    shown.map_err(|error| cannot_draw(&error))
}

fn cannot_draw(error: &io::Error) -> Failure {
    Failure::running(format!("the terminal cannot be used: {error}"))
}

#[derive(Deserialize)]
struct Targets {
    targets: Vec<TargetReport>,
}

fn look(client: &Client) -> Result<Sample, Failure> {
    let status: Status = client.get("/api/v1/status")?;
    let at = Instant::now();
    let targets = client.get::<Targets>("/api/v1/targets")?.targets;
    Ok(Sample { at, status, targets })
}

/// Looks now and then until nobody wants to see it. A server with very many targets is asked more rarely: looking shall cost it little.
fn keep_looking(
    client: &Client,
    interval: Duration,
    samples: &Sender<Result<Sample, String>>,
    let_go: &Receiver<()>,
) {
    let mut pause = interval;
    while let Err(RecvTimeoutError::Timeout) = let_go.recv_timeout(pause) {
        let began = Instant::now();
        let sample = look(client).map_err(|failure| failure.sentence());
        pause = interval.max(began.elapsed() * 9);
        if samples.send(sample).is_err() {
            return;
        }
    }
}

/// Draws and takes keys until `q`.
fn show<B: Backend<Error = io::Error>>(
    terminal: &mut Terminal<B>,
    model: &mut Model,
    samples: &Receiver<Result<Sample, String>>,
    colours: bool,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| view::draw(frame, model, now_s(), colours))?;
        let drawn = Instant::now();
        // Ages go on without news; what is typed, or another size, shows at once.
        while drawn.elapsed() < Duration::from_secs(1) {
            if event::poll(Duration::from_millis(100))? {
                if let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) =
                    event::read()?
                    && model.key(code, modifiers) == Flow::Quit
                {
                    return Ok(());
                }
                break;
            }
            if let Ok(sample) = samples.try_recv() {
                match sample {
                    Ok(sample) => model.update(sample),
                    Err(why) => model.lost(why),
                }
                break;
            }
        }
    }
}
