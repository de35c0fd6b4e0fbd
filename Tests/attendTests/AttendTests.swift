import Foundation
import TestSupport
import Testing

@Suite struct `attend` {
    private let command: Command

    init() throws {
        command = try Command()
    }

    @Test func `says its version`() throws {
        let result = try command.run("--version")
        #expect(result.status == 0)
        #expect(result.output.split(separator: ".").count == 3)
        #expect(result.error.isEmpty)
    }

    @Test func `explains itself, with examples`() throws {
        for arguments in [["--help"], ["help"], ["explain", "--help"], ["compute", "--help"]] {
            let result = try command.run(arguments)
            #expect(result.status == 0)
            #expect(result.output.contains("USAGE"))
            #expect(result.error.isEmpty)
        }
        #expect(try command.run("--help").output.contains("attend \"The FBI is chasing\""))
    }

    @Test func `documents the fields of its JSON`() throws {
        let help = try command.run("explain", "--help").output
        for field in [
            "model", "target {index, text}", "attentionWithoutSink", "contribution", "effect", "isSink", "isVisible",
            "nextWords", "probability", "keyBeforeRotation", "dotProduct", "weightedValue", "output",
        ] {
            #expect(help.contains(field), "\(field)")
        }
    }

    @Test func `completes in every shell`() throws {
        for shell in ["bash", "zsh", "fish"] {
            let result = try command.run("--generate-completion-script", shell)
            #expect(result.status == 0)
            #expect(result.output.contains("attend"))
            #expect(result.error.isEmpty)
        }
        let script = try command.write(
            "completion.bash", try command.run("--generate-completion-script", "bash").output)
        #expect(try command.shell("if command -v bash >/dev/null; then bash -n '\(script)'; fi").status == 0)
    }

    @Test(arguments: [
        [], ["--nonsense", "a"], ["explain"], ["compute"], ["explain", "a", "b"], ["a", "--layer", "x"],
        ["a", "--effect", "sometimes"], ["a", "--color", "red"], ["a", "--top", "-1"], ["a", "--top", "1001"],
        ["a", "--threads", "0"], ["a", "--threads", "513"], ["compute", "--example", "--threads", "0"],
        ["compute", "--example", "--threads", "513"], ["compute", "--example", "--threads", "-1"],
        ["a", "--steps"], ["a", "--steps", "--layer", "0"], ["a", "--head", "0"], ["a", "--steps", "--head", "0"],
        ["compute", "--example", "file.json"], ["compute", "--example", "--similarity", "telepathy"],
        ["compute", "--example", "--soft-cap", "0"], ["compute", "--example", "--soft-cap", "nan"],
        ["compute", "--example", "--bandwidth", "0", "--similarity", "gaussian"],
        ["compute", "--example", "--bandwidth", "-1", "--similarity", "laplacian"],
        ["compute", "--example", "--temperature", "0", "--similarity", "cosine"],
        ["compute", "--example", "--scale", "nan"], ["compute", "--example", "--scale", "2", "--similarity", "cosine"],
        ["compute", "--example", "--soft-cap", "1e300"], ["compute", "--example", "--soft-cap", "1e-300"],
        ["compute", "--example", "--scale", "1e300"], ["compute", "--example", "--scale=-1e-300"],
        ["compute", "--example", "--similarity", "cosine", "--temperature", "1e300"],
        ["compute", "--example", "--similarity", "cosine", "--temperature", "1e-300"],
        ["compute", "--example", "--similarity", "gaussian", "--bandwidth", "1e-200"],
        ["compute", "--example", "--similarity", "gaussian", "--bandwidth", "1e200"],
        ["compute", "--example", "--similarity", "laplacian", "--bandwidth", "1e-300"],
        ["compute", "--example", "--similarity", "laplacian", "--bandwidth", "1e300"],
        ["compute", "--example", "--temperature", "2"], ["compute", "--example", "--bandwidth", "2"],
        ["compute", "--example", "--similarity", "general"], ["compute", "file.json", "--key-value-heads", "2"],
    ])
    func `refuses wrong calls with status 64`(arguments: [String]) throws {
        let result = try command.fail(arguments, status: 64, saying: [])
        #expect(!result.error.isEmpty)
    }

    @Test func `says which kernels it cannot have, and goes on`() throws {
        let result = try command.run("compute", "--example", environment: ["ATTENTION_KERNELS": "abacus"])
        #expect(result.status == 0)
        #expect(result.error.contains("ATTENTION_KERNELS=abacus"))
        #expect(result.output == (try command.run("compute", "--example").output))
    }

    // MARK: - The worked example

    @Test(arguments: [
        ["scaled-dot"], ["dot"], ["cosine", "--temperature", "0.5"], ["euclidean", "--scale", "0.25"],
        ["gaussian", "--bandwidth", "2"], ["laplacian", "--bandwidth", "3"], ["scaled-dot", "--scale", "0"],
    ])
    func `walks through an example that recombines`(similarity: [String]) throws {
        let result = try command.run(["compute", "--example", "--similarity"] + similarity)
        #expect(result.status == 0)
        #expect(result.error.isEmpty)
        #expect(result.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
        func numbers(_ line: Substring) -> [Double] {
            line.split { " []·=/".contains($0) }.compactMap { Double($0) }
        }
        let lines = result.output.split(separator: "\n")
        let scores = lines.filter { $0.contains("score  ") }.map(numbers)
        #expect(scores.count == 4)
        let largest = scores.map { $0[0] }.max() ?? 0
        for line in scores {
            try #require(line.count == 4)
            #expect(abs(line[1] - exp(line[0] - largest)) < 1e-4)
            #expect(abs(line[2] - scores.reduce(0) { $0 + $1[1] }) < 1e-4)
            #expect(abs(line[3] - line[1] / line[2]) < 1e-4)
        }
        let products = lines.filter { $0.contains(" · ") }.map(numbers)
        #expect(products.count == 4)
        for (line, score) in zip(products, scores) {
            try #require(line.count == 7)
            #expect(line[0] == score[3])
            for component in 1...3 { #expect(abs(line[component + 3] - line[0] * line[component]) < 1e-3) }
        }
        let sum = numbers(try #require(lines.last { $0.contains("Σ =") }))
        try #require(sum.count == 3)
        for component in 0..<3 {
            #expect(abs(sum[component] - products.reduce(0) { $0 + $1[component + 4] }) < 2e-3)
        }
    }

    // MARK: - Pipes

    private func writeLongInput() throws {
        let row = "[" + (0..<40).map { "\($0).25" }.joined(separator: ",") + "]"
        let rows = "[" + [String](repeating: row, count: 600).joined(separator: ",") + "]"
        _ = try command.write("long.json", "{\"queries\": \(rows), \"keys\": [\(row)], \"values\": [\(row)]}")
    }

    @Test func `ends quietly when its reader goes away`() throws {
        try writeLongInput()
        // More than a pipe holds, so that the end is met while writing.
        #expect(try command.run("compute", "\(command.folder)/long.json").output.utf8.count > 1 << 17)
        let line = "{ \"$ATTEND\" compute \"$FOLDER/long.json\"; echo \"status $?\" >&2; } | head -1"
        let result = try command.shell(line)
        #expect(result.output == "{\n")
        #expect(result.error == "status 0\n")
    }

    @Test func `ends quietly when its reader goes away and SIGPIPE is ignored`() throws {
        try writeLongInput()
        let line =
            "trap '' PIPE; { \"$ATTEND\" compute \"$FOLDER/long.json\"; echo \"status $?\" >&2; } | head -1"
        let result = try command.shell(line)
        #expect(result.output == "{\n")
        #expect(result.error == "status 0\n")
    }

    @Test func `keeps its status when nobody reads its errors`() throws {
        #expect(try command.shell("\"$ATTEND\" compute /absent.json 2>&-; echo $?").output == "1\n")
        let line =
            "trap '' PIPE; { \"$ATTEND\" compute /absent.json 2>&1 >/dev/null; echo $? >\"$FOLDER/status\"; } | true; "
            + "sleep 0.2; cat \"$FOLDER/status\""
        #expect(try command.shell(line).output == "1\n")
    }

    @Test func `says that its output cannot be written`() throws {
        let full = try command.shell(
            "if [ -e /dev/full ]; then \"$ATTEND\" compute --example >/dev/full; else exit 1; fi")
        #expect(full.status == 1)
        let closed = try command.shell("\"$ATTEND\" compute --example >&-")
        #expect(closed.status == 1)
        #expect(closed.error.contains("cannot write the output"))
    }
}
