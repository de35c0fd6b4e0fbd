import Testing

@testable import AttentionServer

@Suite struct `Hosts that may be asked for` {
    @Test(arguments: [
        "localhost", "localhost:7421", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:7421", "LOCALHOST:1",
    ])
    func `the machine itself always`(header: String) {
        #expect(AllowedHosts(listeningOn: "127.0.0.1").allow(header))
    }

    @Test(arguments: [
        "", ":", ":80", "evil.example", "evil.example:7421", "localhost.evil.example", "127.0.0.1.evil.example",
        "127.0.0.2", "localhost:80:80", "192.168.0.7", "[::2]", "localhost:x",
    ])
    func `no other name, which could be made to point here`(header: String) {
        #expect(!AllowedHosts(listeningOn: "127.0.0.1").allow(header))
    }

    @Test func `the name that is listened on`() {
        #expect(AllowedHosts(listeningOn: "Studio.local").allow("studio.local:7421"))
        #expect(AllowedHosts(listeningOn: "fe80::1").allow("[fe80::1]:7421"))
        #expect(!AllowedHosts(listeningOn: "studio.local").allow("other.local"))
    }

    @Test func `any address where all are listened on, and still no name`() {
        for host in ["0.0.0.0", "::"] {
            let hosts = AllowedHosts(listeningOn: host)
            #expect(hosts.allow("192.168.0.7:7421"))
            #expect(hosts.allow("[2001:db8::7]:7421"))
            #expect(!hosts.allow("evil.example"))
            #expect(!hosts.allow("999.1.1.1"))
            #expect(!hosts.allow("1.2.3"))
            #expect(!hosts.allow("[evil.example]"))
        }
    }
}
