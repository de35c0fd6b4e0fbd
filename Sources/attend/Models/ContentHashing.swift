import Foundation
import PretrainedModels

/// Hashes of files by the system's own programs.
enum ContentHashing {
    /// Which program computes a hash.
    static func program(for hash: ContentHash) -> String {
        switch hash {
        case .sha256: "sha256sum"
        case .gitSHA1: "sha1sum"
        }
    }

    /// Returns the digits of a file's hash of the same kind as another, or `nil` where the program is not installed.
    static func hash(of path: String, like hash: ContentHash) throws -> String? {
        guard let program = installedProgram(program(for: hash), alsoIn: ["/usr/bin", "/bin"]) else { return nil }
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw CommandFailure.failure("cannot read '\(path)'. Check its permissions.")
        }
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: program)
        process.standardInput = input
        process.standardOutput = output
        do {
            try process.run()
            if case .gitSHA1 = hash {
                let size = try file.seekToEnd()
                try file.seek(toOffset: 0)
                try input.fileHandleForWriting.write(contentsOf: Data("blob \(size)\0".utf8))
            }
            while let part = try file.read(upToCount: 1 << 20), !part.isEmpty {
                try input.fileHandleForWriting.write(contentsOf: part)
            }
            try input.fileHandleForWriting.close()
            let digits = try output.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return String(decoding: digits.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)
        } catch {
            throw CommandFailure.failure("cannot hash '\(path)' with \(program): \(error.localizedDescription)")
        }
    }
}
