//! `--watch`: files that are changed, swapped, half written or deleted, with inotify and without it.

use super::support::process::find;
use super::support::tools;
use super::*;

#[test]
fn changed_files_are_read_by_themselves() {
    let hale = start("watch", &json!({ "watch": true }));
    let file = hale.folder().join("zones/zone.json");
    let mut next = 2;
    let mut check = |how: &str, change: &dyn Fn(&str)| {
        change(&zone(next));
        until(&hale, how, || (version(hale.address) == Some(next)).then_some(()));
        next += 1;
    };
    check("a file that is written anew", &|text| std::fs::write(&file, text).unwrap());
    check("another one that is renamed over it", &|text| {
        let new = file.with_extension("swp");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    });
    check("a file written in pieces", &|text| {
        let mut out = std::fs::File::create(&file).unwrap();
        let (first, rest) = text.split_at(text.len() / 2);
        out.write_all(first.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        out.write_all(rest.as_bytes()).unwrap();
    });
    // As the kubelet does: files are links into ..data, which is a link to a folder that is swapped.
    let folder = hale.folder().join("zones");
    let volume = |text: &str, version: &str| {
        std::fs::create_dir(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("zone.json"), text).unwrap();
        std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    check("a file that becomes a link", &|text| {
        volume(text, "..1");
        std::os::unix::fs::symlink("..data/zone.json", folder.join("new")).unwrap();
        std::fs::rename(folder.join("new"), &file).unwrap();
    });
    check("a volume that is swapped", &|text| volume(text, "..2"));
    check("a volume that is swapped again", &|text| volume(text, "..3"));
    let log = hale.output();
    assert!(!log.contains("ERROR"), "half a file was read: {log}");
    assert!(log.contains("zone.json\n") || log.contains("changed: "), "{log}");
}

/// The zone, signed by keys in a folder.
fn signed(version: u64) -> String {
    let mut zone: Value = serde_json::from_str(&zone(version)).unwrap();
    zone["dnssec"] = json!({ "keys": "../keys" });
    zone.to_string()
}

fn make_key(folder: &std::path::Path, role: &str) {
    let keys = folder.join("keys").display().to_string();
    let done = hale_run(["keys", "generate", "example.test", "--keys", &keys, "--role", role]);
    assert!(done.status.success(), "{done:?}");
}

fn keys_served(server: SocketAddr) -> usize {
    let query = QueryBuilder::new("example.test", rtype::DNSKEY).edns(1232, true);
    Client::new(server).ask(&query, Via::Tcp).map_or(0, |answer| answer.answers(rtype::DNSKEY).count())
}

#[test]
fn a_key_file_that_comes_or_goes_is_taken_up_and_the_zone_stays_valid() {
    let setup = Setup::new("watch-keys").by_configuration().zone("zones/zone.json", &signed(1));
    make_key(setup.folder.path(), "csk");
    let hale = setup.config(&config(&json!({ "watch": true }))).start();
    let is_valid = |when: &str| {
        let file = hale.export("example.test");
        for done in [tools::ldns_verify_zone(&file), tools::dnssec_verify("example.test", &file)] {
            assert!(done.as_ref().is_none_or(|done| done.status.success()), "{when}: {done:?}");
        }
    };
    assert_eq!(keys_served(hale.address), 1);
    is_valid("with one key");
    make_key(hale.folder(), "zsk");
    until(&hale, "the new key", || (keys_served(hale.address) == 2).then_some(()));
    is_valid("with a new key");
    // A key of which only the beginning is there, as a copy under way shows it: the zone stays as it is, and says why.
    let place = hale.folder().join("keys/example.test");
    let written: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
    let new = written.iter().find(|path| path.to_string_lossy().contains("zsk")).unwrap();
    let whole = std::fs::read_to_string(new).unwrap();
    std::fs::write(new, &whole[..whole.len() / 2]).unwrap();
    let problem = || {
        let status: Value = serde_json::from_str(&hale.get("/api/v1/status").1).unwrap();
        status["reload_problem"].as_str().map(str::to_owned)
    };
    let why = until(&hale, "the half of a key", problem);
    assert!(why.contains("zsk"), "{why}");
    assert_eq!(keys_served(hale.address), 2, "the zone is as it was");
    is_valid("while a key is half written");
    std::fs::write(new, &whole).unwrap();
    until(&hale, "the whole key", || problem().is_none().then_some(()));
    std::fs::remove_file(new).unwrap();
    until(&hale, "one key", || (keys_served(hale.address) == 1).then_some(()));
    is_valid("with one key again");
}

#[test]
fn a_deleted_file_keeps_its_zone_and_half_of_one_does_too() {
    let hale = start("watch-broken", &json!({ "watch": true }));
    let file = hale.folder().join("zones/zone.json");
    let errors = |text: &str| {
        hale.output().lines().filter(|line| line.contains("ERROR") && line.contains(text)).count()
    };
    // Whoever writes waits longer than it takes to be thought done.
    let text = zone(2);
    let (first, rest) = text.split_at(text.len() / 2);
    let mut out = std::fs::File::create(&file).unwrap();
    out.write_all(first.as_bytes()).unwrap();
    until(&hale, "the error of half a file", || (errors("zone.json") > 0).then_some(()));
    assert_eq!(version(hale.address), Some(1), "the zone is as it was");
    out.write_all(rest.as_bytes()).unwrap();
    drop(out);
    until(&hale, "the whole file", || (version(hale.address) == Some(2)).then_some(()));
    // Beside another one, since a pattern that matches nothing is an error of its own.
    write(
        &hale,
        "zones/other.json",
        r#"{ "zone": "other.test", "nameservers": ["ns1.example.test"], "records": { "b": ["192.0.2.8"] } }"#,
    );
    let other =
        || Client::new(hale.address).ask(&QueryBuilder::new("other.test", rtype::SOA), Via::Udp).unwrap();
    until(&hale, "another zone", || (other().rcode == 0).then_some(()));
    std::fs::remove_file(&file).unwrap();
    let kept = || {
        hale.operate("zone show").lines().any(|line| line.contains("example.test.") && line.contains("kept"))
    };
    until(&hale, "the zone is kept", || kept().then_some(()));
    assert_eq!(version(hale.address), Some(2));
    std::fs::write(&file, zone(3)).unwrap();
    until(&hale, "the file is there again", || (version(hale.address) == Some(3)).then_some(()));
    assert!(!kept());
    // hale.json broken, then whole, with another place to look for zones, which is watched from then on.
    write(&hale, "hale.json", "{ \"watch\": true, \"zones\"");
    until(&hale, "the error of half a configuration", || (errors("hale.json") > 0).then_some(()));
    assert_eq!(version(hale.address), Some(3));
    let more = json!({ "watch": true, "zones": ["zones/*.json", "more/*.json"] });
    std::fs::create_dir(hale.folder().join("more")).unwrap();
    write(&hale, "more/third.json", &zone(1).replace("example.test", "third.test"));
    write(&hale, "hale.json", &config(&more));
    let third = || {
        let query = QueryBuilder::new("gen.third.test", rtype::A);
        served_version(&Client::new(hale.address).ask(&query, Via::Udp).unwrap())
    };
    until(&hale, "a third zone", || (third() == Some(1)).then_some(()));
    write(&hale, "more/third.json", &zone(2).replace("example.test", "third.test"));
    until(&hale, "a change of the third zone", || (third() == Some(2)).then_some(()));
}

/// In a user namespace of its own, where a limit of inotify is 0: `max_inotify_instances`, as where too many programs watch, or
/// `max_inotify_watches`, as where they watch too much (ENOSPC).
fn without_inotify(limit: &str, says: &str) {
    let Some(unshare) = find("unshare") else { return };
    let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
    let within = [&*unshare.to_string_lossy(), "--user", "--map-root-user", "sh", "-c", &script, "sh"]
        .map(str::to_owned);
    let tried = support::process::run(
        std::process::Command::new(&within[0]).args(&within[1..]).arg("true"),
        Duration::from_secs(10),
    );
    if !tried.status.success() {
        eprintln!("skipped: no user namespace is to be had here: {}", tried.stderr);
        return;
    }
    let setup = Setup::new("watch-poll").by_configuration().zone("zones/zone.json", &zone(1)).within(within);
    let hale = setup.config(&config(&json!({ "watch": true }))).start();
    until(&hale, "the line that says so", || hale.output().contains(says).then_some(()));
    for next in [2, 3] {
        write(&hale, "zones/zone.json", &zone(next));
        let begun = Instant::now();
        until(&hale, "a change that nobody tells of", || (version(hale.address) == Some(next)).then_some(()));
        // Every two seconds it is looked, and a build on a busy machine takes its time.
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    assert_eq!(hale.output().matches(says).count(), 1, "it is said once: {}", hale.output());
}

#[test]
fn files_are_looked_at_where_there_is_no_inotify() {
    without_inotify("max_inotify_instances", "no inotify: files are looked at every two seconds");
}

#[test]
fn files_are_looked_at_where_they_cannot_be_watched() {
    without_inotify("max_inotify_watches", "cannot be watched: files are looked at every two seconds");
}
