use glue_net::EndpointId;
use glue_security::NetworkKey;

use super::*;

const KSUID: &str = "3MObaaaaaaaaaaaaaaaaaaaaaaa";

/// The settings that these variables give, where none is unknown.
fn read_all(vars: &[(&str, &str)]) -> Result<Settings, EnvError> {
    let (settings, unknown) = Settings::from_vars(vars.iter().copied());
    assert_eq!(unknown, []);
    settings
}

fn set(name: &str, value: &str) -> Settings {
    read_all(&[(name, value)]).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(name: &str, value: &str) -> String {
    read_all(&[(name, value)]).expect_err(value).to_string()
}

/// Asserts that each value is refused with what is expected and this reason.
fn refuses(variable: &Variable, values: &[(&str, &str)]) {
    for (value, reason) in values {
        let expected = format!("{} is {value:?}: expected {}{reason}", variable.name, variable.expected);
        assert_eq!(refused(variable.name, value), expected);
    }
}

/// The names that are not known, as they are shown.
fn warnings(names: &[&str]) -> Vec<String> {
    let (settings, unknown) = Settings::from_vars(names.iter().map(|name| (*name, "x")));
    assert_eq!(settings, Ok(Settings::default()));
    unknown.iter().map(ToString::to_string).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

mod all {
    use super::*;

    #[test]
    fn nothing_set_gives_the_defaults() {
        assert_eq!(read_all(&[]), Ok(Settings::default()));
    }

    #[test]
    fn documented_defaults_are_the_defaults() {
        for variable in Settings::VARIABLES.iter().filter(|v| !v.default.starts_with('(')) {
            assert_eq!(set(variable.name, variable.default), Settings::default(), "{}", variable.name);
        }
    }

    #[test]
    fn empty_counts_as_unset_and_blanks_are_trimmed() {
        for variable in Settings::VARIABLES {
            assert_eq!(set(variable.name, ""), Settings::default());
            assert_eq!(set(variable.name, " \t\n"), Settings::default());
        }
        assert_eq!(set("GLUE_NETWORK_ID", " 7\n").network_id, NetworkId(7));
        assert_eq!(set("GLUE_ENDPOINT_NAME", "  the lamp ").endpoint_name.as_deref(), Some("the lamp"));
    }

    #[test]
    fn every_variable_is_read() {
        let vars = [
            ("GLUE_NETWORK_ID", "-7"),
            ("GLUE_ENDPOINT_ID", "9"),
            ("GLUE_ENDPOINT_NAME", "lamp"),
            ("GLUE_LISTEN_ADDRESS", "127.0.0.1:5"),
            ("GLUE_LISTEN_INTERFACE", "lo"),
            ("GLUE_DISCOVERY_TARGET_ADDRESS", "10.0.0.1:1"),
            ("GLUE_DISCOVERY_LISTEN_ADDRESS", "127.0.0.1:6"),
            ("GLUE_DISCOVERY_RATE_MILLISECONDS", "50"),
            ("GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER", "3.5"),
            ("GLUE_MEMORY_BUDGET_BYTES", "50000000"),
            ("GLUE_CACHE", "site/#=1000, log"),
            ("GLUE_NETWORK_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
            ("GLUE_IDENTITY_FILE", "/var/lib/lamp/identity"),
            ("GLUE_TRUSTED_PEERS", "/etc/lamp/trusted"),
        ];
        assert!(vars.iter().map(|(name, _)| *name).eq(Settings::VARIABLES.iter().map(|v| v.name)));
        let expected = Settings {
            network_id: NetworkId(-7),
            endpoint_id: Some(EndpointId::from_integer(9)),
            endpoint_name: Some("lamp".to_owned()),
            listen_address: at("127.0.0.1:5"),
            listen_interface: Some("lo".to_owned()),
            discovery_targets: vec![at("10.0.0.1:1")],
            discovery_listen_address: Some(at("127.0.0.1:6")),
            discovery_interval: Duration::from_millis(50),
            discovery_timeout_multiplier: 3.5,
            memory_budget_bytes: 50_000_000,
            caches: vec![("site/#".to_owned(), Some(1_000)), ("log".to_owned(), None)],
            network_key: Some(NetworkKey::from_bytes(std::array::from_fn(|n| u8::try_from(n).unwrap()))),
            identity_file: Some("/var/lib/lamp/identity".into()),
            trusted_peers: Some("/etc/lamp/trusted".into()),
        };
        assert_eq!(read_all(&vars), Ok(expected));
    }

    #[test]
    fn the_first_of_two_values_counts() {
        let vars = [("GLUE_NETWORK_ID", "2"), ("GLUE_NETWORK_ID", "3")];
        assert_eq!(read_all(&vars).unwrap().network_id, NetworkId(2));
    }

    #[test]
    fn what_the_environment_accepts_discovery_accepts() {
        let cases = [("GLUE_DISCOVERY_RATE_MILLISECONDS", ["10", "3600000"]), (MULTIPLIER, ["1", "1000"])];
        for (name, value) in cases.iter().flat_map(|(name, values)| values.map(|value| (*name, value))) {
            let settings = set(name, value);
            let mut config = glue_discovery::Config::new(EndpointId::from_integer(1), "a");
            config.data_port = 1;
            config.targets = settings.discovery_targets;
            config.announce_interval = settings.discovery_interval;
            config.timeout_multiplier = settings.discovery_timeout_multiplier;
            assert_eq!(config.validate(), Ok(()), "{name}={value}");
        }
    }

    const MULTIPLIER: &str = "GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER";
}

mod values {
    use super::*;

    #[test]
    fn network_id() {
        for (text, id) in [("0", 0), ("-9223372036854775808", i64::MIN), ("9223372036854775807", i64::MAX)] {
            assert_eq!(set("GLUE_NETWORK_ID", text).network_id, NetworkId(id));
        }
        assert_eq!(
            refused("GLUE_NETWORK_ID", "abc"),
            "GLUE_NETWORK_ID is \"abc\": expected an integer from -9223372036854775808 to 9223372036854775807"
        );
        refuses(&variables::NETWORK_ID, &[("9223372036854775808", ""), ("1.0", ""), ("0x1", ""), ("1 2", "")]);
    }

    #[test]
    fn endpoint_id() {
        assert_eq!(set("GLUE_ENDPOINT_ID", KSUID).endpoint_id, Some(KSUID.parse().unwrap()));
        for number in [0, 42, -1, i64::MAX] {
            let settings = set("GLUE_ENDPOINT_ID", &number.to_string());
            assert_eq!(settings.endpoint_id, Some(EndpointId::from_integer(number)));
        }
        assert_eq!(
            refused("GLUE_ENDPOINT_ID", "lamp"),
            "GLUE_ENDPOINT_ID is \"lamp\": expected a KSUID (27 characters of 0-9, A-Z, a-z) or a 64-bit integer"
        );
        refuses(&variables::ENDPOINT_ID, &[(&KSUID[1..], ""), ("zzzzzzzzzzzzzzzzzzzzzzzzzzz", "")]);
    }

    #[test]
    fn endpoint_name() {
        let longest = "é".repeat(512);
        assert_eq!(set("GLUE_ENDPOINT_NAME", &longest).endpoint_name, Some(longest));
        assert_eq!(
            refused("GLUE_ENDPOINT_NAME", &"n".repeat(1_025)),
            format!("GLUE_ENDPOINT_NAME is \"{}\".. (1025 bytes): expected 1 to 1024 bytes of text", "n".repeat(80))
        );
    }

    #[test]
    fn listen_address() {
        for (text, address) in [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            (":5000", "0.0.0.0:5000"),
            ("10.0.0.1", "10.0.0.1:0"),
            ("[::1]:5000", "[::1]:5000"),
            ("[::]:0", "[::]:0"),
            ("[::1]", "[::1]:0"),
            ("::1", "[::1]:0"),
        ] {
            assert_eq!(set("GLUE_LISTEN_ADDRESS", text).listen_address, at(address), "{text}");
        }
        assert_eq!(
            refused("GLUE_LISTEN_ADDRESS", "127.0.0.1:99999"),
            "GLUE_LISTEN_ADDRESS is \"127.0.0.1:99999\": expected a unicast address as host:port, host (port 0) or :port \
             (every interface) (port \"99999\" is not a number from 0 to 65535)"
        );
        refuses(
            &variables::LISTEN_ADDRESS,
            &[
                ("127.0.0.1:", " (port \"\" is not a number from 0 to 65535)"),
                ("127.0.0.1:+5", " (port \"+5\" is not a number from 0 to 65535)"),
                ("239.1.2.3:5", " (239.1.2.3 is a multicast group)"),
                ("[ff02::1]:5", " (ff02::1 is a multicast group)"),
            ],
        );
    }

    #[test]
    fn hosts_that_are_none() {
        // The system's resolver would take the numbers for IPv4 addresses: 27320 for 0.0.106.184.
        for text in ["27320", "127.1", "0x7f000001", "256.1.1.1", "1.2.3.4.", "a b", "a/b", "a,b"] {
            refuses(&variables::LISTEN_ADDRESS, &[(text, &no_host(text))]);
        }
        for text in ["[::1", "[::1]5", "[localhost]:5", "[127.0.0.1]:5", "::1:x", "fe80::1%", "a:b:5"] {
            refuses(&variables::LISTEN_ADDRESS, &[(text, &no_host(text))]);
        }
    }

    fn no_host(text: &str) -> String {
        format!(" ({text:?} is neither an IP address nor a host name)")
    }

    #[test]
    fn names_are_resolved_to_ipv4_first() {
        assert_eq!(set("GLUE_LISTEN_ADDRESS", "localhost:5").listen_address, at("127.0.0.1:5"));
        assert_eq!(set("GLUE_DISCOVERY_TARGET_ADDRESS", "localhost").discovery_targets, [at("127.0.0.1:27320")]);
    }

    #[test]
    fn a_name_that_cannot_be_resolved_is_told() {
        // A label of more than 63 characters, which no resolver can ask for.
        let host = "a".repeat(64);
        let error = refused("GLUE_LISTEN_ADDRESS", &format!("{host}:5"));
        assert!(error.contains(&format!("(\"{host}\" cannot be resolved: ")), "{error}");
    }

    #[test]
    fn a_link_local_address_has_a_scope() {
        assert_eq!(set("GLUE_LISTEN_ADDRESS", "[fe80::1%7]:5").listen_address, at("[fe80::1%7]:5"));
        assert_eq!(set("GLUE_LISTEN_ADDRESS", "fe80::1%7").listen_address, at("[fe80::1%7]:0"));
    }

    #[test]
    fn listen_interface() {
        for text in ["eth0", "192.168.1.4", "fe80::1", "Ethernet 2"] {
            assert_eq!(set("GLUE_LISTEN_INTERFACE", text).listen_interface.as_deref(), Some(text));
        }
        refuses(&variables::LISTEN_INTERFACE, &[("eth\n0", "")]);
        assert!(refused("GLUE_LISTEN_INTERFACE", &"e".repeat(257)).contains("(257 bytes): expected the name or an IP"));
    }

    #[test]
    fn discovery_targets() {
        let local = ["10.0.0.1:5000", "10.0.0.2:27320", "[::1]:27320", "[::2]:27320", "255.255.255.255:1"].map(at);
        for (text, targets) in [
            ("0", &[][..]),
            (" 0 ", &[]),
            ("10.0.0.1:5000", &local[..1]),
            ("10.0.0.1:5000,10.0.0.2", &local[..2]),
            (" 10.0.0.1:5000 ,\t10.0.0.2:27320, [::1]:27320,::2 , 255.255.255.255:1", &local),
        ] {
            assert_eq!(set("GLUE_DISCOVERY_TARGET_ADDRESS", text).discovery_targets, targets, "{text}");
        }
        assert_eq!(
            refused("GLUE_DISCOVERY_TARGET_ADDRESS", "10.0.0.1, nowhere:x"),
            "GLUE_DISCOVERY_TARGET_ADDRESS is \"10.0.0.1, nowhere:x\": expected 0, or addresses as host:port or host \
             (port 27320), separated by commas (port \"x\" is not a number from 0 to 65535)"
        );
        refuses(
            &variables::TARGET_ADDRESS,
            &[
                ("10.0.0.1,,10.0.0.2", " (an address is empty)"),
                ("10.0.0.1,", " (an address is empty)"),
                ("10.0.0.1 10.0.0.2", " (\"10.0.0.1 10.0.0.2\" is neither an IP address nor a host name)"),
                ("0,10.0.0.1", " (\"0\" is neither an IP address nor a host name)"),
                ("10.0.0.1:0", " (10.0.0.1:0 has no specific address and port to announce to)"),
                (":27320", " (0.0.0.0:27320 has no specific address and port to announce to)"),
                ("[::]", " ([::]:27320 has no specific address and port to announce to)"),
            ],
        );
    }

    #[test]
    fn discovery_listen_address() {
        for (text, address) in [
            ("239.1.2.3:5", "239.1.2.3:5"),
            ("239.1.2.3", "239.1.2.3:27320"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":5", "0.0.0.0:5"),
            ("[::1]:27320", "[::1]:27320"),
        ] {
            let settings = set("GLUE_DISCOVERY_LISTEN_ADDRESS", text);
            assert_eq!(settings.discovery_listen_address, Some(at(address)), "{text}");
        }
        assert_eq!(
            refused("GLUE_DISCOVERY_LISTEN_ADDRESS", "239.1.2.3:0"),
            "GLUE_DISCOVERY_LISTEN_ADDRESS is \"239.1.2.3:0\": expected an address as host:port, host (port 27320) or \
             :port (every interface) (a multicast group needs a port other than 0)"
        );
    }

    #[test]
    fn discovery_rate() {
        for milliseconds in [10, 1_000, 3_600_000] {
            let settings = set("GLUE_DISCOVERY_RATE_MILLISECONDS", &milliseconds.to_string());
            assert_eq!(settings.discovery_interval, Duration::from_millis(milliseconds));
        }
        assert_eq!(
            refused("GLUE_DISCOVERY_RATE_MILLISECONDS", "9"),
            "GLUE_DISCOVERY_RATE_MILLISECONDS is \"9\": expected an integer from 10 to 3600000"
        );
        let bad = ["3600001", "-10", "1.5", "1s", "18446744073709551616"].map(|value| (value, ""));
        refuses(&variables::RATE, &bad);
    }

    #[test]
    fn memory_budget() {
        for bytes in [33_554_432, 1 << 40] {
            assert_eq!(set("GLUE_MEMORY_BUDGET_BYTES", &bytes.to_string()).memory_budget_bytes, bytes);
        }
        assert_eq!(
            refused("GLUE_MEMORY_BUDGET_BYTES", "256M"),
            "GLUE_MEMORY_BUDGET_BYTES is \"256M\": expected an integer of at least 33554432"
        );
        refuses(&variables::MEMORY_BUDGET, &["33554431", "-1", "1e9", "18446744073709551616"].map(|value| (value, "")));
    }

    #[test]
    fn caches() {
        let of = |text| set("GLUE_CACHE", text).caches;
        assert_eq!(of("#"), [("#".to_owned(), None)]);
        assert_eq!(of("a=b"), [("a=b".to_owned(), None)]);
        assert_eq!(of("a=b=7"), [("a=b".to_owned(), Some(7))]);
        assert_eq!(
            refused("GLUE_CACHE", "a/#/b=7"),
            "GLUE_CACHE is \"a/#/b=7\": expected patterns of topics, each with =BYTES or without, separated by commas"
        );
        refuses(&variables::CACHE, &["a,,b", "a,", "=7", "a#", "a=99999999999999999999"].map(|value| (value, "")));
    }

    #[test]
    fn discovery_multiplier() {
        for (text, multiplier) in [("1", 1.0), ("1.0", 1.0), ("2.5", 2.5), ("1e3", 1_000.0)] {
            let settings = set("GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER", text);
            assert_eq!(settings.discovery_timeout_multiplier, multiplier);
        }
        assert_eq!(
            refused("GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER", "0.99"),
            "GLUE_DISCOVERY_RATE_TIMEOUT_MULTIPLIER is \"0.99\": expected a number from 1.0 to 1000.0"
        );
        refuses(&variables::MULTIPLIER, &["1000.1", "nan", "inf", "-2", "2,5", "two"].map(|value| (value, "")));
    }
}

mod errors {
    use super::*;

    #[test]
    fn all_malformed_variables_are_told_at_once() {
        let error = read_all(&[
            ("GLUE_DISCOVERY_RATE_MILLISECONDS", "1"),
            ("GLUE_ENDPOINT_NAME", "lamp"),
            ("GLUE_LISTEN_ADDRESS", "127.0.0.1:x"),
            ("GLUE_NETWORK_ID", "one"),
        ])
        .unwrap_err();
        assert!(error.variables().eq(["GLUE_NETWORK_ID", "GLUE_LISTEN_ADDRESS", "GLUE_DISCOVERY_RATE_MILLISECONDS"]));
        let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
        assert!(lines[0].starts_with("GLUE_NETWORK_ID is \"one\": expected an integer"), "{error}");
        assert!(lines[1].starts_with("GLUE_LISTEN_ADDRESS is \"127.0.0.1:x\": expected "), "{error}");
        assert!(lines[2].starts_with("GLUE_DISCOVERY_RATE_MILLISECONDS is \"1\": expected "), "{error}");
        assert_eq!(lines.len(), 3);
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn unknown_names_are_told_beside_errors() {
        let (settings, unknown) = Settings::from_vars([("GLUE_NETWORK_ID", "x"), ("GLUE_NETWORKID", "1")]);
        assert!(settings.is_err());
        assert_eq!(unknown[0].name(), "GLUE_NETWORKID");
        assert_eq!(unknown[0].suggestion(), Some("GLUE_NETWORK_ID"));
    }

    #[test]
    fn a_problem_takes_one_line_whatever_the_value() {
        for value in ["a\nb\u{1b}[31m", &"\n".repeat(10_000), &"x:".repeat(10_000), &format!("{}:5", "9".repeat(9_999))]
        {
            for error in Settings::VARIABLES.iter().filter_map(|v| read_all(&[(v.name, value)]).err()) {
                let text = error.to_string();
                assert_eq!(text.lines().count(), 1, "{text}");
                assert!(text.len() < 600 && !text.contains('\u{1b}'), "{text}");
            }
        }
    }

    #[test]
    fn a_key_with_a_slip_is_not_shown() {
        let nearly = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1";
        for nearly in [nearly.to_owned(), format!("{nearly}g"), format!("{nearly}ff")] {
            let text = refused("GLUE_NETWORK_KEY", &nearly);
            assert!(text.starts_with("GLUE_NETWORK_KEY is no key: expected 32 bytes as base64"), "{text}");
            assert!(!text.contains("0203"), "{text}");
        }
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let shown = format!("{:?}", set("GLUE_NETWORK_KEY", key));
        assert!(!shown.contains("0203") && !shown.contains("AAECAw") && !shown.contains("1, 2, 3"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf_8_is_told() {
        use std::os::unix::ffi::OsStringExt;

        let bad = || OsString::from_vec(b"1\xff".to_vec());
        for variable in Settings::VARIABLES.iter().filter(|variable| **variable != variables::NETWORK_KEY) {
            let (settings, _) = Settings::from_vars([(variable.name, bad())]);
            let expected = format!("{} is \"1\\xFF\": expected {} (it is not UTF-8)", variable.name, variable.expected);
            assert_eq!(settings.unwrap_err().to_string(), expected);
        }
        let (settings, unknown) = Settings::from_vars([("GLUE_SEED", bad()), ("OTHER", bad())]);
        assert_eq!((settings, unknown), (Ok(Settings::default()), vec![]));
    }
}

mod unknown_names {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_suggested() {
        for (given, meant) in [
            ("GLUE_ENDPIONT_NAME", "GLUE_ENDPOINT_NAME"),
            ("GLUE_ENDPOINT_NAMES", "GLUE_ENDPOINT_NAME"),
            ("GLUE_network_id", "GLUE_NETWORK_ID"),
            ("GLUE_LISTEN_ADRESS", "GLUE_LISTEN_ADDRESS"),
            ("GLUE_LISTEN_IFACE", "GLUE_LISTEN_INTERFACE"),
            ("GLUE_GLUE_NETWORK_ID", "GLUE_NETWORK_ID"),
        ] {
            assert_eq!(warnings(&[given]), [format!("{given} is not known; did you mean {meant}?")]);
        }
    }

    #[test]
    fn without_a_near_one_the_readme_is_named() {
        for given in [
            "GLUE_",
            "GLUE_X",
            "GLUE_PLUGIN",
            "GLUE_SEEDLING",
            "GLUE_LISTEN_PORT",
            "GLUE_DISCOVERY_RATE_TIMEOUT",
            "GLUE_KEYBOARD",
        ] {
            assert_eq!(warnings(&[given]), [format!("{given} is not known; README.md lists the variables")]);
        }
        assert_eq!(warnings(&["GLUE_A\u{1b}\n"]), ["GLUE_A\\u{1b}\\n is not known; README.md lists the variables"]);
    }

    #[test]
    fn they_are_sorted_and_each_told_once() {
        let names = warnings(&["GLUE_B", "GLUE_A", "GLUE_B"]);
        assert!(names.len() == 2 && names[0].starts_with("GLUE_A ") && names[1].starts_with("GLUE_B "), "{names:?}");
    }

    #[test]
    fn names_that_tests_and_binaries_read_are_no_slips() {
        assert_eq!(warnings(&["GLUE_SEED", "GLUE_SEEDS", "GLUE_LOG", "glue_network_id", "GLU_E", "PATH"]), [""; 0]);
    }
}

#[test]
fn readme_lists_the_variables() {
    let rows = include_str!("../../../README.md").lines().filter(|line| line.starts_with("| `GLUE_"));
    let listed: Vec<String> = rows.map(|row| row.replace('`', "")).collect();
    let row = |v: &Variable| format!("| {} | {} | {} |", v.name, v.default, v.meaning);
    assert_eq!(listed, Settings::VARIABLES.iter().map(row).collect::<Vec<_>>());
}
