//! docs/commands.md is made from the argument definitions; this holds it to them. HALE_BLESS=1 writes it anew.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};

const HEAD: &str = "\
# Commands, flags and environment variables

Made from the arguments' definitions, as `hale --help`, `hale man` and `hale completions` are; `HALE_BLESS=1 cargo test --lib cli::reference` writes this page anew.

Every flag of `hale serve` and `hale check` has an environment variable and, but for `--config`, a key in `hale.json`. A flag wins over the environment, the environment over the
file, the file over the default. A flag that is a list replaces the file's list; in a variable a list has commas (`HALE_LISTEN=127.0.0.1:53,[::1]:53`), and files for `serve` are in
`HALE_ZONES`. Switches are `true` or `false`. A variable that is empty counts as unset. One that Kubernetes made for a Service (`HALE_PORT=tcp://…`) is ignored with a warning; set `enableServiceLinks: false`.

`LISTEN_FDS` and `LISTEN_PID` (sockets of the service manager), `NOTIFY_SOCKET` and `WATCHDOG_USEC` are systemd's; `NO_COLOR` takes the colours away. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the
system's root certificates. In Kubernetes `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` say where the API server is.

Exit codes: 0 fine, 1 failed while running, 2 bad configuration or arguments.
";

/// What a-healthy-dns calls its settings, which count where Hale's own variable is not set. `tests/serve.rs` starts a server by them.
const HEALTHY_DNS: [(&str, &str); 10] = [
    ("hosted-zone", "DNS_HOSTED_ZONE"),
    ("zone-resolutions", "DNS_ZONE_RESOLUTIONS"),
    ("ns", "DNS_NAME_SERVERS"),
    ("alias-zones", "DNS_ALIAS_ZONES"),
    ("test-min-interval", "DNS_TEST_MIN_INTERVAL"),
    ("test-timeout", "DNS_TEST_TIMEOUT"),
    ("priv-key-path", "DNS_PRIV_KEY_PATH"),
    ("priv-key-alg", "DNS_PRIV_KEY_ALG"),
    ("port", "DNS_PORT"),
    ("log-level", "DNS_LOG_LEVEL"),
];

/// Which variable stands for a flag, and the help without a note about it.
fn variable(command: &str, flag: &str, help: &str) -> (String, String) {
    if let Some((text, rest)) = help.split_once("[env: ") {
        let name = rest.split(']').next().unwrap_or_default();
        return (format!("`{name}`"), text.trim().to_owned());
    }
    if !matches!(command, "hale serve" | "hale check") {
        return (String::new(), help.to_owned());
    }
    let mut names = format!("`HALE_{}`", flag.to_uppercase().replace('-', "_"));
    if let Some((_, other)) = HEALTHY_DNS.iter().find(|(name, _)| *name == flag) {
        write!(names, ", `{other}`").unwrap();
    }
    (names, help.to_owned())
}

fn row(out: &mut String, command: &str, argument: &Arg) {
    let values: Vec<String> =
        argument.get_value_names().into_iter().flatten().map(|name| format!(" {name}")).collect();
    let takes_value = argument.get_action().takes_values();
    let values = if takes_value { values.concat() } else { String::new() };
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace('|', "\\|")
        .replace('\n', " ");
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let possible = if possible.is_empty() { String::new() } else { format!(" ({})", possible.join(", ")) };
    let (name, (variable, help)) = match argument.get_long() {
        Some(long) => (format!("--{long}{values}"), variable(command, long, &help)),
        None => (values.trim().to_owned(), (String::new(), help)),
    };
    writeln!(out, "| `{}` | {variable} | {help}{possible} |", name.replace('|', "\\|")).unwrap();
}

fn section(out: &mut String, path: &str, command: &Command) {
    let children: Vec<&Command> = command
        .get_subcommands()
        .filter(|child| !child.is_hide_set() && child.get_name() != "help")
        .collect();
    if children.is_empty() {
        write!(out, "\n## {path}\n\n").unwrap();
        if let Some(about) = command.get_about() {
            writeln!(out, "{about}.").unwrap();
        }
        let arguments: Vec<&Arg> = command
            .get_arguments()
            .filter(|argument| {
                !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
            })
            .collect();
        if !arguments.is_empty() {
            out.push_str("\n| argument | variable | |\n|---|---|---|\n");
            arguments.into_iter().for_each(|argument| row(out, path, argument));
        }
    }
    for child in children {
        section(out, &format!("{path} {}", child.get_name()), child);
    }
}

#[test]
fn the_page_is_what_the_definitions_say() {
    let mut command = super::Arguments::command();
    command.build();
    let mut page = HEAD.to_owned();
    section(&mut page, "hale", &command);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    if std::env::var_os("HALE_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(page.contains("| `--state DIR` | `HALE_STATE` |"), "{page}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page, "HALE_BLESS=1 writes docs/commands.md anew");
}
