import TestSupport
import Testing

@testable import ModelFiles

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

private func write(_ text: String, to path: String) throws {
    try write(Array(text.utf8), to: path)
}

private func error(_ sources: [String], standardInput: [UInt8] = []) -> CorpusError? {
    do {
        _ = try Corpus(sources, standardInput: standardInput)
        return nil
    } catch {
        return error
    }
}

private func documents(_ corpus: Corpus) throws -> [String] {
    guard case .texts(let documents) = corpus.contents else { throw CorpusError.nothingNamed }
    return documents.map(\.text.string)
}

private func pairs(_ corpus: Corpus) throws -> [[String]] {
    guard case .pairs(let pairs) = corpus.contents else { throw CorpusError.nothingNamed }
    return pairs.map { [$0.source.string, $0.target.string] }
}

@Suite struct Corpora {
    @Test func `files, folders and standard input are read in their order`() throws {
        try withTemporaryFolder { folder in
            for name in ["b", "b/deep", "b/.hidden"] { mkdir("\(folder)/\(name)", 0o700) }
            try write("one", to: "\(folder)/one.txt")
            try write("two", to: "\(folder)/b/2.md")
            try write("three", to: "\(folder)/b/deep/3")
            try write("", to: "\(folder)/b/0.txt")
            try write("not this", to: "\(folder)/b/.secret")
            try write("nor this", to: "\(folder)/b/.hidden/4.txt")
            // Links to files count; one to a folder could lead back up.
            symlink("../one.txt", "\(folder)/b/5.txt")
            symlink(".", "\(folder)/b/again")
            symlink("absent", "\(folder)/b/nowhere")
            let corpus = try Corpus(["-", "\(folder)/b", "\(folder)/one.txt"], standardInput: Array("zero".utf8))
            #expect(try documents(corpus) == ["zero", "", "two", "one", "three", "one"])
            #expect(corpus.byteCount == 18)
            #expect(try documents(Corpus(["\(folder)/b/"])) == ["", "two", "one", "three"])
        }
    }

    @Test func `JSON lines are pairs`() throws {
        try withTemporaryFolder { folder in
            let lines =
                "{\"source\": \"a b\", \"target\":\"b\\na\"}\n\n \r\n{\"id\":7,\"target\":\"é\",\"source\":\"e\\u0301\"}\r\n"
            try write(lines, to: "\(folder)/pairs.jsonl")
            let expected = [["a b", "b\na"], ["e\u{301}", "é"]].map { $0.map { Array($0.utf8) } }
            for corpus in [
                try Corpus(["\(folder)/pairs.jsonl"]), try Corpus(["-"], standardInput: Array(lines.utf8)),
            ] {
                #expect(try pairs(corpus).map { $0.map { Array($0.utf8) } } == expected)
                #expect(corpus.texts.map(\.count) == [3, 3, 3, 2])
            }
            // Text that only begins with a brace is text.
            #expect(try documents(Corpus(["-"], standardInput: Array("{\"source\": 1}\n".utf8))).count == 1)
        }
    }

    @Test func `a byte-order mark is no text`() throws {
        #expect(try documents(Corpus(text: "\u{FEFF}a\u{FEFF}")) == ["a\u{FEFF}"])
    }

    @Test func `the fingerprint is that of the texts, wherever they lie`() throws {
        try withTemporaryFolder { folder in
            try write("one", to: "\(folder)/1.txt")
            try write("two", to: "\(folder)/2.txt")
            try write("onet", to: "\(folder)/3.txt")
            try write("wo", to: "\(folder)/4.txt")
            let paths = (0...4).map { "\(folder)/\($0).txt" }
            let corpus = try Corpus([paths[1], paths[2]])
            #expect(rename(paths[2], paths[0]) == 0)
            #expect(try Corpus([paths[1], paths[0]]).fingerprint == corpus.fingerprint)
            #expect(try Corpus([paths[0], paths[1]]).fingerprint != corpus.fingerprint)
            #expect(try Corpus([paths[3], paths[4]]).fingerprint != corpus.fingerprint)
            try write("tw0", to: paths[0])
            #expect(try Corpus([paths[1], paths[0]]).fingerprint != corpus.fingerprint)
        }
    }

    @Test func `tokenizers learn from all of it`() throws {
        let lines = "{\"source\":\"aaa aaa\",\"target\":\"bbb bbb\"}"
        let corpus = try Corpus(["-"], standardInput: Array(lines.utf8))
        #expect(try CharacterTokenizer(corpus).characters == [" ", "a", "b"])
        var trainer = try BytePairTrainer(vocabularySize: 261)
        try trainer.add(corpus)
        #expect(try trainer.train().encode("aaabbb").count == 2)
    }

    // MARK: - What is no corpus

    @Test func `where there is nothing, it is said so`() throws {
        try withTemporaryFolder { folder in
            #expect(error([]) == .nothingNamed)
            #expect(error(["\(folder)/absent"]) == .notFound(path: "\(folder)/absent"))
            #expect(error([folder]) == .noFiles(folder: folder))
            try write("hidden", to: "\(folder)/.hidden")
            #expect(error([folder]) == .noFiles(folder: folder))
            try write("", to: "\(folder)/a.txt")
            #expect(error([folder]) == .empty(sources: [folder]))
            #expect(error(["-"]) == .empty(sources: ["-"]))
            try write("\n", to: "\(folder)/a.jsonl")
            #expect(error(["\(folder)/a.jsonl"]) == .empty(sources: ["\(folder)/a.jsonl"]))
            #expect(throws: CorpusError.empty(sources: ["text in memory"])) { try Corpus(text: "") }
        }
    }

    @Test func `binary files are refused with their place`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/picture.txt"
            let long = [UInt8](repeating: 0x61, count: 1_000)
            for (bytes, expected) in [
                (long + [0] + long, CorpusError.zeroByte(path: path, offset: 1_000)),
                (long + [0xFF, 0], .invalidUTF8(path: path, offset: 1_000)),
                (long + [0, 0xFF], .zeroByte(path: path, offset: 1_000)),
                ([0x61, 0xC3], .invalidUTF8(path: path, offset: 1)),
                ([0], .zeroByte(path: path, offset: 0)),
            ] {
                try write(bytes, to: path)
                #expect(error([folder]) == expected)
            }
            #expect(
                error(["-"], standardInput: [0x61, 0xFF])
                    == .invalidUTF8(path: Corpus.standardInputName, offset: 1))
        }
    }

    @Test func `lines that are no pairs are refused with their number`() throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/pairs.jsonl"
            let good = "{\"source\":\"a\",\"target\":\"b\"}\n"
            for (line, field) in [
                ("{\"source\":\"a\"}", "target"), ("{\"target\":\"a\"}", "source"), ("[]", "source"), ("7", "source"),
                ("{\"source\":\"a\",\"target\":7}", "target"), ("{\"source\":\"\",\"target\":\"b\"}", "source"),
            ] {
                try write(good + "\n" + line + "\n" + good, to: path)
                #expect(error([path]) == .lineNotPair(path: path, line: 3, field: field))
            }
            for line in ["{", "source", "{\"source\":\"\\ud800\",\"target\":\"b\"}", good.dropLast() + "x"] {
                try write(good + line, to: path)
                guard case .lineNotJSON(path, 2, _)? = error([path]) else {
                    Issue.record("\(line): \(String(describing: error([path])))")
                    continue
                }
            }
        }
    }

    @Test func `texts and pairs do not mix`() throws {
        try withTemporaryFolder { folder in
            try write("text", to: "\(folder)/a.txt")
            try write("{\"source\":\"a\",\"target\":\"b\"}", to: "\(folder)/b.jsonl")
            #expect(error([folder]) == .mixedKinds(text: "\(folder)/a.txt", pairs: "\(folder)/b.jsonl"))
        }
    }

    @Test func `what cannot be read is named`() throws {
        try withTemporaryFolder { folder in
            let loop = "\(folder)/loop"
            symlink("loop", loop)
            #expect(
                error([loop])
                    == .unreadable(FileError(path: loop, problem: .system(operation: "examine", code: ELOOP))))
            let pipe = "\(folder)/pipe"
            mkfifo(pipe, 0o600)
            #expect(error([pipe]) == .unreadable(FileError(path: pipe, problem: .notRegularFile(kind: "a pipe"))))
            #expect(
                error(["a\u{0}b"]) == .unreadable(FileError(path: "a\u{0}b", problem: .zeroByteInPath)))
            // Root may read everything.
            guard geteuid() != 0 else { return }
            let path = "\(folder)/secret.txt"
            try write("secret", to: path)
            chmod(path, 0)
            #expect(
                error([path]) == .unreadable(FileError(path: path, problem: .system(operation: "open", code: EACCES))))
        }
    }

    @Test func `two thousand damaged lines are refused or read`() throws {
        let whole = Array("{\"source\":\"a\\u00e9\",\"target\":\"b\"}\n{\"source\":\"c\",\"target\":\"d\"}\n".utf8)
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<2_000 {
            if let error = error(["-"], standardInput: generator.mutation(of: whole, in: 0..<whole.count)) {
                #expect(!error.description.isEmpty)
            }
        }
    }
}
