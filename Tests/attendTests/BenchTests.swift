import ModelFiles
import Testing

/// What `attend bench` prints, and what it refuses; no figure is compared with another machine's.
@Suite struct BenchTests {
    private static let shape = ["bench", "--seconds", "0.001", "--threads", "2", "--shape"]

    @Test func `one shape is checked, timed and told with its share of the peak`() throws {
        let command = try Command()
        for arguments in [
            [], ["--causal"], ["--type", "bfloat16"], ["--type", "float64", "--backward"], ["--similarity", "cosine"],
            ["--similarity", "euclidean", "--causal", "--backward"],
        ] {
            let result = try command.run(Self.shape + ["2,4,2,16,24,8", "--json"] + arguments)
            #expect(result.status == 0, "\(arguments): \(result.error)")
            let lines = try result.output.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
            try #require(lines.count == 2, "\(result.output)")
            #expect(lines[0]["threads"]?.integerValue == 2)
            #expect(try #require(lines[0]["peak"]?["gigabytesPerSecond"]?.doubleValue) > 0)
            let type = arguments.first == "--type" ? arguments[1] : "float32"
            let name = "attention \(type) b2 h4 g2 q16 k24 d8"
            #expect(try #require(lines[1]["work"]?.stringValue).hasPrefix(name))
            let seconds = try #require(lines[1]["seconds"]?.doubleValue)
            let gflops = try #require(lines[1]["gflops"]?.doubleValue)
            #expect(seconds > 0 && gflops > 0)
            // The operations of the two products, of the visible half under a causal mask, and 5 more for gradients.
            let pairs = 2.0 * 4 * 16 * (arguments.contains("--causal") ? 24 - 8 : 24)
            let operations = 4 * pairs * 8 * (arguments.contains("--backward") ? 3.5 : 1)
            #expect(abs(gflops * 1e9 * seconds / operations - 1) < 1e-4, "\(arguments)")
            #expect(lines[1]["fractionOfPeak"]?.doubleValue != nil)
        }
    }

    @Test func `the table names the machine's peaks, and has a line for each work`() throws {
        let result = try Command().run(Self.shape + ["1,1,1,8,8,4"])
        #expect(result.status == 0, "\(result.error)")
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 4, "\(result.output)")
        #expect(lines[0].hasSuffix("2 threads"))
        #expect(lines[1].hasPrefix("peak: float32 ") && lines[1].hasSuffix(" GB/s"))
        #expect(lines[2].hasPrefix("work ") && lines[2].hasSuffix("of peak"))
        #expect(lines[3].hasPrefix("attention float32 b1 h1 g1 q8 k8 d4 ") && lines[3].hasSuffix(" %"))
    }

    @Test func `wrong use is refused with what to try`() throws {
        let command = try Command()
        let cases: [(arguments: [String], parts: [String])] = [
            (["bench", "speed"], ["speed", "attention"]),
            (["bench", "--shape", "1,2,3"], ["'1,2,3'", "six sizes", "B,H,G,T_q,T_k,D"]),
            (["bench", "--shape", "1,2,1,0,4,4"], ["six sizes above 0"]),
            (["bench", "--shape", "1,-2,1,4,4,4"], ["six sizes above 0"]),
            (["bench", "--shape", "1,4,3,4,4,4"], ["4 heads", "3 key-value heads"]),
            (["bench", "--shape", "1,2,1,9223372036854775807,4,4"], ["2^30"]),
            (["bench", "--shape", "1,1,1,8,4,4", "--causal"], ["as many keys as queries"]),
            (["bench", "--shape", "1,1,1,8,8,4", "--type", "int8"], ["int8", "bfloat16"]),
            (["bench", "--shape", "1,1,1,8,8,4", "--type", "bfloat16", "--backward"], ["float32 and float64"]),
            (["bench", "--shape", "1,1,1,8,8,4", "--similarity", "nearest"], ["nearest", "scaled-dot"]),
            (["bench", "--shape", "1,1,1,8,8,4", "gemm"], ["not both"]),
            (["bench", "gemm", "--causal"], ["--shape"]),
            (["bench", "--seconds", "0"], ["--seconds is 0"]),
            (["bench", "--seconds", "nan"], ["--seconds is nan"]),
            (["bench", "--threads", "0"], ["--threads is 0"]),
        ]
        for (arguments, parts) in cases { try command.fail(arguments, status: 64, saying: parts) }
    }

    @Test func `a model that is not there is told, and the rest is timed`() throws {
        let command = try Command()
        let result = try command.run(
            ["bench", "model", "--seconds", "0.001", "--json"],
            environment: ["HOME": command.folder, "XDG_CACHE_HOME": ""])
        #expect(result.status == 1)
        #expect(result.error.contains("prefill SmolLM2-135M Q4_1 t128") && result.error.contains("Scripts/fetch-model"))
        #expect(result.error.contains("4 of 4 could not be timed"))
    }
}
