import Foundation
import ModelFiles

/// The lines of a file or of standard input, one after the other, in memory for one line.
final class LineReader {
    struct Line {
        let number: Int
        /// The line without its end, or what it says as JSON.
        let text: String
        /// With its end.
        let byteCount: Int
    }

    /// A longer line is taken for no text.
    private static let maximumByteCount = 64 << 20

    private let name: String
    /// Where lines are JSON, which member of an object is the text.
    private let jsonField: String?
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    private var number = 0

    /// Opens a file; - is standard input.
    ///
    /// - Parameters:
    ///   - name: The file, or -.
    ///   - isJSON: Whether lines are JSON, whatever the file is called.
    ///   - field: Which member of an object is the text.
    /// - Throws: `CommandFailure` when it cannot be read.
    init(_ name: String, isJSON: Bool = false, field: String = "text") throws {
        self.name = name
        jsonField = isJSON || name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson") ? field : nil
        if name == "-" {
            handle = .standardInput
        } else {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: name, isDirectory: &isFolder), !isFolder.boolValue,
                let opened = FileHandle(forReadingAtPath: name)
            else {
                throw CommandFailure.failure("cannot read '\(name)'. Name a file of texts, or - for standard input.")
            }
            handle = opened
        }
    }

    /// The next line, without its end; `nil` behind the last.
    func next() throws -> Line? {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                return try line(buffer[start..<end], consuming: end + 1 - start)
            }
            searched = buffer.count
            if isAtEnd {
                return start < buffer.count
                    ? try line(buffer[start...], consuming: buffer.count - start) : nil
            }
            guard buffer.count - start <= Self.maximumByteCount else {
                throw CommandFailure.failure(
                    "line \(number + 1) of '\(name)' has more than \(Self.maximumByteCount) bytes. Split it.")
            }
            buffer.removeFirst(start)
            searched -= start
            start = 0
            try readMore()
        }
    }

    /// Reads what is there, so that who writes line by line is answered line by line.
    private func readMore() throws {
        let before = buffer.count
        buffer += [UInt8](repeating: 0, count: 1 << 16)
        let count = buffer.withUnsafeMutableBytes { bytes in
            var count = -1
            repeat {
                count = read(handle.fileDescriptor, bytes.baseAddress.map { $0 + before }, 1 << 16)
            } while count < 0 && errno == EINTR
            return count
        }
        guard count >= 0 else {
            throw CommandFailure.failure("cannot read '\(name)': \(String(cString: strerror(errno))).")
        }
        buffer.removeLast((1 << 16) - count)
        isAtEnd = count == 0
    }

    /// How much there is to read, where that is known.
    static func byteCount(of names: [String]) -> Int? {
        var total = 0
        for name in names {
            guard name != "-", let size = try? FileManager.default.attributesOfItem(atPath: name)[.size] as? Int
            else { return nil }
            total += size
        }
        return total
    }

    private func line(_ bytes: ArraySlice<UInt8>, consuming count: Int) throws -> Line {
        number += 1
        start += count
        let bytes = bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes
        guard bytes.withUnsafeBytes(\.offsetOfInvalidUTF8) == nil else {
            throw CommandFailure.failure(
                "line \(number) of '\(name)' is not UTF-8. Convert it, for example with iconv.")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return Line(number: number, text: try jsonField.map { try member($0, of: text) } ?? text, byteCount: count)
    }

    private func member(_ field: String, of text: String) throws -> String {
        let place = "line \(number) of \(name == "-" ? "standard input" : "'\(name)'")"
        do {
            let value = try JSONValue(parsing: Array(text.utf8))
            if let text = value.stringValue ?? value[field]?.stringValue { return text }
        } catch {
            throw CommandFailure.failure("\(place) is not JSON: \(error)")
        }
        throw CommandFailure.failure(
            "\(place) is neither a string nor an object with a string '\(field)'. Name another with --field.")
    }
}
