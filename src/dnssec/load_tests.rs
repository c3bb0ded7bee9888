//! Key files as other tools write them, and what is said of those that are wrong. The tools are found by PATH; a missing one is
//! named and its cases are skipped.
#![allow(clippy::print_stderr)]

use std::process::Command;

use super::*;
use crate::config::KeyFile;
use crate::dnssec::files::test_directory::TestDirectory;

fn apex() -> Name {
    Name::parse_absolute("example.test").unwrap()
}

/// Runs a command line in `directory`; returns what it prints, or `None` if there is no such program.
pub(in crate::dnssec) fn tool(directory: &Path, line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    match Command::new(program).args(words).current_dir(directory).output() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: no {program} in PATH");
            None
        }
        Err(e) => panic!("{line}: {e}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
            Some(text)
        }
    }
}

/// `KEYS/example.test/` in a fresh directory, files in it of mode 0600.
fn zone_folder() -> (TestDirectory, PathBuf) {
    let keys = TestDirectory::new();
    let folder = keys.path().join("example.test");
    fs::create_dir(&folder).unwrap();
    (keys, folder)
}

fn close_files(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(folder).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn load(keys: &TestDirectory) -> Result<(ZoneKeys, Vec<Diagnostic>), Vec<Diagnostic>> {
    ZoneKeys::load(&KeySource::Directory(keys.path().to_owned()), &apex(), None)
}

fn show(findings: &[Diagnostic]) -> String {
    findings.iter().map(|d| format!("{d}\n")).collect()
}

#[test]
fn every_form_that_openssl_writes_is_read() {
    for (lines, algorithm) in [
        (
            &["openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out k.pem"][..],
            Algorithm::RsaSha256,
        ),
        (&["openssl genrsa -traditional -out k.pem 2048"], Algorithm::RsaSha256),
        (&["openssl genrsa -out k.pem 3072"], Algorithm::RsaSha256),
        (&["openssl genrsa -out 10.csk.pem 4096"], Algorithm::RsaSha512),
        (
            &["openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.pem"],
            Algorithm::EcdsaP256Sha256,
        ),
        (
            &["openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out k.pem"],
            Algorithm::EcdsaP384Sha384,
        ),
        (&["openssl ecparam -name prime256v1 -genkey -out k.pem"], Algorithm::EcdsaP256Sha256),
        (&["openssl ecparam -name secp384r1 -genkey -noout -out k.pem"], Algorithm::EcdsaP384Sha384),
        (
            &[
                "openssl ecparam -name prime256v1 -genkey -out k.tmp",
                "openssl ec -in k.tmp -no_public -out k.pem",
            ],
            Algorithm::EcdsaP256Sha256,
        ),
        (
            &[
                "openssl ecparam -name prime256v1 -genkey -out k.tmp",
                "openssl ec -in k.tmp -conv_form compressed -out k.pem",
            ],
            Algorithm::EcdsaP256Sha256,
        ),
        (&["openssl genpkey -algorithm ED25519 -out k.pem"], Algorithm::Ed25519),
    ] {
        let (keys, folder) = zone_folder();
        if lines.iter().any(|line| tool(&folder, line).is_none()) {
            return;
        }
        close_files(&folder);
        let (loaded, warnings) = load(&keys).unwrap_or_else(|e| panic!("{lines:?}: {}", show(&e)));
        assert_eq!(warnings, [], "{lines:?}");
        assert_eq!(loaded.keys()[0].algorithm(), algorithm, "{lines:?}");
        assert_eq!(loaded.keys()[0].role(), KeyRole::Csk, "{lines:?}");
    }
}

/// The DS records for the parent zone.
fn ds_lines(keys: &ZoneKeys) -> Vec<String> {
    keys.keys().iter().filter(|key| key.signs_keys()).map(|key| key.ds_text(&apex())).collect()
}

#[test]
fn bind_keys_are_read_and_agree_with_bind() {
    for algorithm in Algorithm::ALL {
        let (keys, folder) = zone_folder();
        let bits = if algorithm.number() < 13 { "-b 2048 " } else { "" };
        let make = |role: &str| {
            tool(&folder, &format!("dnssec-keygen -q -a {} {bits}{role}example.test", algorithm.mnemonic()))
        };
        let (Some(ksk), Some(_)) = (make("-f KSK "), make("")) else { return };
        let (loaded, warnings) = load(&keys).unwrap_or_else(|e| panic!("{algorithm}: {}", show(&e)));
        assert_eq!(warnings, [], "{algorithm}");
        let roles: Vec<KeyRole> = loaded.keys().iter().map(Key::role).collect();
        assert_eq!(roles, [KeyRole::Ksk, KeyRole::Zsk]);
        let Some(ds) = tool(&folder, &format!("dnssec-dsfromkey -2 {}.key", ksk.trim())) else { return };
        assert_eq!(ds_lines(&loaded), [ds.trim()]);
        // Without the .key files the public part is computed, and the tag in the name tells a ZSK.
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "key") {
                fs::remove_file(path).unwrap();
            }
        }
        let (bare, _) = load(&keys).unwrap_or_else(|e| panic!("{algorithm}: {}", show(&e)));
        let roles: Vec<KeyRole> = bare.keys().iter().map(Key::role).collect();
        assert_eq!(roles, [KeyRole::Zsk, KeyRole::Csk]);
        assert_eq!(bare.dnskey(1), loaded.dnskey(1));
    }
}

#[test]
fn generated_keys_are_read_by_the_server_and_by_openssl() {
    for algorithm in Algorithm::ALL {
        let keys = TestDirectory::new();
        let request = generate::Request {
            apex: apex(),
            keys: keys.path().into(),
            algorithm,
            role: KeyRole::Csk,
            bits: 2048,
        };
        let made = generate::generate(&request).unwrap();
        let want = keys.path().join(format!("example.test/{}.csk.{}.pem", algorithm.number(), made.tag));
        assert_eq!(made.file, want);
        let (loaded, warnings) = load(&keys).unwrap_or_else(|e| panic!("{}", show(&e)));
        assert_eq!(warnings, [], "a fresh key is readable by its owner alone");
        assert_eq!(loaded.keys()[0].tag(), made.tag);
        assert_eq!(Some(&ds_lines(&loaded)[0]), made.ds.as_ref());
        // A key that openssl reads; it prints the public part, which must be the one in the DNSKEY record.
        if let Some(text) = tool(keys.path(), &format!("openssl pkey -in {} -text -noout", want.display())) {
            let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
            let public = &loaded.keys()[0].dnskey()[loaded.keys()[0].dnskey().len() - 32..];
            let public = data_encoding::HEXLOWER.encode(public);
            assert!(hex.contains(&public), "{text}");
        }
    }
}

#[test]
fn import_makes_the_same_key_under_its_own_name() {
    let source = TestDirectory::new();
    let Some(base) = tool(source.path(), "dnssec-keygen -q -a ECDSAP256SHA256 -f KSK example.test") else {
        return;
    };
    let file = source.path().join(format!("{}.private", base.trim()));
    let keys = TestDirectory::new();
    let (info, warnings) = generate::import(&file, &apex(), keys.path(), Some(KeyRole::Csk), None).unwrap();
    assert_eq!(warnings, []);
    assert!(info.file.ends_with(format!("example.test/13.csk.{}.pem", info.tag)), "{info}");
    assert!(base.trim().ends_with(&format!("+{:05}", info.tag)));
    let (listed, findings) = generate::list(keys.path(), &apex());
    assert_eq!((listed, findings), (vec![info], vec![]));
    assert_eq!(generate::zones_in(keys.path()).unwrap(), [apex()]);
    assert!(
        generate::import(&file, &apex(), keys.path(), Some(KeyRole::Csk), None).is_err(),
        "never overwritten"
    );
}

#[test]
fn auto_makes_one_key_and_misses_it_when_it_is_gone() {
    let state = TestDirectory::new();
    let load = || ZoneKeys::load(&KeySource::Auto, &apex(), Some(state.path()));
    fs::create_dir(state.path().join(".new-example.test")).unwrap(); // a crash left it
    let (first, warnings) = load().unwrap();
    assert_eq!(warnings, []);
    assert_eq!(first.keys()[0].algorithm(), Algorithm::EcdsaP256Sha256);
    assert_eq!(load().unwrap().0.dnskey(1), first.dnskey(1));
    fs::remove_file(first.keys()[0].file()).unwrap();
    let lost = load().unwrap_err();
    assert!(show(&lost).contains("no key"), "{}", show(&lost));
    let without = ZoneKeys::load(&KeySource::Auto, &apex(), None).unwrap_err();
    assert!(show(&without).contains("--state"), "{}", show(&without));
}

/// Makes the P-256 key pair of a role in the zone's folder and returns its file.
fn put(keys: &TestDirectory, role: KeyRole) -> PathBuf {
    let request = generate::Request {
        apex: apex(),
        keys: keys.path().into(),
        algorithm: Algorithm::EcdsaP256Sha256,
        role,
        bits: 0,
    };
    generate::generate(&request).unwrap().file
}

/// Loads what `arrange` leaves and expects an error, or a warning if `fatal` is false, that contains `part`.
#[track_caller]
fn check(fatal: bool, part: &str, arrange: impl FnOnce(&TestDirectory)) {
    let keys = TestDirectory::new();
    arrange(&keys);
    let findings = match load(&keys) {
        Ok((_, warnings)) if !fatal => warnings,
        Err(errors) if fatal => errors,
        Ok((keys, warnings)) => panic!("loaded {keys:?} with {}", show(&warnings)),
        Err(errors) => panic!("refused: {}", show(&errors)),
    };
    let text = show(&findings);
    assert!(text.contains(part), "{text:?} does not contain {part:?}");
}

#[test]
fn one_case_for_each_finding() {
    use std::os::unix::fs::PermissionsExt;
    check(true, "cannot be read", |_| {});
    check(true, "no key", |keys| fs::create_dir(keys.path().join("example.test")).unwrap());
    check(true, "KSK of algorithm 13 (ECDSAP256SHA256) without a ZSK", |keys| drop(put(keys, KeyRole::Ksk)));
    check(true, "ZSK of algorithm 13 (ECDSAP256SHA256) without a KSK", |keys| drop(put(keys, KeyRole::Zsk)));
    check(true, "the file's name says key tag", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::rename(&file, file.with_file_name("13.csk.1.pem")).unwrap();
    });
    check(true, "algorithm 15 (ED25519) cannot use a P-256 key", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::rename(&file, file.with_file_name("15.csk.pem")).unwrap();
    });
    check(true, "algorithm 5 is not supported", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::rename(&file, file.with_file_name("5.csk.pem")).unwrap();
    });
    check(true, "\"cks\" in the file's name is not a role", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::rename(&file, file.with_file_name("13.cks.1.pem")).unwrap();
    });
    check(true, "\"70000\" in the file's name is not a key tag", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::rename(&file, file.with_file_name("13.csk.70000.pem")).unwrap();
    });
    check(true, "not valid PEM", |keys| {
        let file = put(keys, KeyRole::Csk);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
    });
    check(true, "no private key in it", |keys| fs::write(put(keys, KeyRole::Csk), "").unwrap());
    check(true, "not a readable PKCS#8", |keys| {
        fs::write(put(keys, KeyRole::Csk), "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
            .unwrap();
    });
    check(true, "more than one private key", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::write(&file, fs::read_to_string(&file).unwrap().repeat(2)).unwrap();
    });
    check(true, "encrypted", |keys| {
        fs::write(put(keys, KeyRole::Csk), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    });
    check(true, "not a key file", |keys| {
        put(keys, KeyRole::Csk);
        fs::create_dir(keys.path().join("example.test/x.pem")).unwrap();
    });
    check(true, "in another role", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::copy(&file, file.with_file_name("13.zsk.pem")).unwrap();
    });
    check(false, "the same key as", |keys| {
        let file = put(keys, KeyRole::Csk);
        fs::copy(&file, file.with_file_name("13.csk.pem")).unwrap();
    });
    check(false, "mode 0640", |keys| {
        fs::set_permissions(put(keys, KeyRole::Csk), fs::Permissions::from_mode(0o640)).unwrap();
    });
}

#[test]
fn bind_files_must_agree_with_each_other() {
    let source = TestDirectory::new();
    let make = || {
        tool(source.path(), "dnssec-keygen -q -a ECDSAP256SHA256 example.test").map(|b| b.trim().to_owned())
    };
    let (Some(base), Some(other)) = (make(), make()) else { return };
    let read = |name: &str| fs::read_to_string(source.path().join(name)).unwrap();
    let (private, public, other_public) =
        (read(&format!("{base}.private")), read(&format!("{base}.key")), read(&format!("{other}.key")));
    let revoked = public.replace("DNSKEY 256", "DNSKEY 384");
    for (name, private, public, part) in [
        (&*base, private.clone(), other_public, "not the public part of"),
        (&base, private.clone(), revoked, "revoked"),
        (&base, private.clone(), "nothing".into(), "no DNSKEY record"),
        (&base.replace("+013+", "+014+"), private.clone(), public.clone(), "name says algorithm 14"),
        (&base.replace("example.test", "other.test"), private.clone(), public.clone(), "another zone"),
        (&base, format!("{private}Delete: 20300101000000\n"), public.clone(), "Delete is not followed"),
        ("Kexample.test.+013+00001", private.clone(), public, "key tag 1"),
    ] {
        check(true, part, |keys| {
            let folder = keys.path().join("example.test");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(format!("{name}.private")), private).unwrap();
            fs::write(folder.join(format!("{name}.key")), public).unwrap();
        });
    }
}

#[test]
fn the_configuration_says_role_and_algorithm() {
    let (keys, folder) = zone_folder();
    if tool(&folder, "openssl genrsa -out any.key 2048").is_none() {
        return;
    }
    let file = folder.join("any.key");
    let load = |role, algorithm| {
        let files = vec![KeyFile { file: file.clone(), role, algorithm }];
        ZoneKeys::load(&KeySource::Files(files), &apex(), None)
    };
    assert_eq!(load(KeyRole::Csk, Some(10)).unwrap().0.keys()[0].algorithm(), Algorithm::RsaSha512);
    assert_eq!(load(KeyRole::Csk, None).unwrap().0.keys()[0].algorithm(), Algorithm::RsaSha256);
    assert!(show(&load(KeyRole::Csk, Some(13)).unwrap_err()).contains("cannot use an RSA key"));
    assert!(show(&load(KeyRole::Zsk, None).unwrap_err()).contains("without a KSK"));
    let missing =
        KeySource::Files(vec![KeyFile { file: folder.join("no"), role: KeyRole::Csk, algorithm: None }]);
    assert!(show(&ZoneKeys::load(&missing, &apex(), None).unwrap_err()).contains("cannot be read"));
    drop(keys);
}

#[test]
fn small_and_odd_keys_are_refused() {
    for (line, part) in [
        ("openssl genrsa -out k.pem 1024", "1024 bits"),
        ("openssl genrsa -out k.pem 2560", "2560 bits"),
        ("openssl genpkey -algorithm X25519 -out k.pem", "neither an RSA"),
        ("openssl ecparam -name secp256k1 -genkey -out k.pem", "a curve other than"),
    ] {
        let made = TestDirectory::new();
        if tool(made.path(), line).is_none() {
            return;
        }
        check(true, part, |keys| {
            let folder = keys.path().join("example.test");
            fs::create_dir(&folder).unwrap();
            fs::copy(made.path().join("k.pem"), folder.join("k.pem")).unwrap();
        });
    }
}

#[test]
fn the_key_tag_of_rfc_4509_section_2_3() {
    let key = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";
    let key = data_encoding::BASE64.decode(key.as_bytes()).unwrap();
    assert_eq!(key::key_tag(&key::dnskey_rdata(256, 5, &key)), 60485);
}
