//! The flags of `hale serve` and `hale check`.

use std::path::PathBuf;

/// Flags that make up the configuration. Values stay text here, so that a flag, its variable and its key in `hale.json`
/// are judged by the same code with the same words.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Zone files, or directories of them; replaces "zones" of the configuration file
    #[arg(value_name = "ZONE_FILE_OR_DIR")]
    pub zones: Vec<PathBuf>,
    /// Configuration file; without it and without zones: ./hale.json, then /etc/hale/hale.json, else zones/*.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to answer on; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Port to answer on, on every IPv4 and IPv6 address; excludes --listen
    #[arg(long, value_name = "N")]
    pub port: Option<String>,
    /// Address of the admin listener (API, metrics, probes), or "off"
    #[arg(long, value_name = "ADDR:PORT|off")]
    pub admin: Option<String>,
    /// Directory for verdicts, serials, signatures and generated keys
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Worker threads; one for each core unless given
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// Keep each worker on a core of its own
    #[arg(long)]
    pub pin_workers: bool,
    /// Exit with code 2 if any zone is broken
    #[arg(long)]
    pub strict: bool,
    /// Read configuration, zone files and keys again when they change
    #[arg(long)]
    pub watch: bool,
    /// Use the portable UDP and TCP transport instead of batched system calls
    #[arg(long)]
    pub portable: bool,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Zone to serve (a-healthy-dns)
    #[arg(long, value_name = "NAME", help_heading = "a-healthy-dns")]
    pub hosted_zone: Option<String>,
    /// Records of that zone in JSON: {"www": {"ips": ["192.0.2.1"], "health_port": 8080}}
    #[arg(long, value_name = "JSON", help_heading = "a-healthy-dns")]
    pub zone_resolutions: Option<String>,
    /// Name servers of that zone, a JSON list
    #[arg(long, value_name = "JSON", help_heading = "a-healthy-dns")]
    pub ns: Option<String>,
    /// Alias zones, a JSON list
    #[arg(long, value_name = "JSON", help_heading = "a-healthy-dns")]
    pub alias_zones: Option<String>,
    /// Seconds between two checks of an address; 30 unless given
    #[arg(long, value_name = "SECONDS", help_heading = "a-healthy-dns")]
    pub test_min_interval: Option<String>,
    /// Seconds until a check counts as failed; 2 unless given
    #[arg(long, value_name = "SECONDS", help_heading = "a-healthy-dns")]
    pub test_timeout: Option<String>,
    /// Private key that signs that zone and its aliases, in PEM
    #[arg(long, value_name = "FILE", help_heading = "a-healthy-dns")]
    pub priv_key_path: Option<PathBuf>,
    /// Algorithm of that key; RSASHA256 unless given
    #[arg(long, value_name = "NAME", help_heading = "a-healthy-dns")]
    pub priv_key_alg: Option<String>,
}
