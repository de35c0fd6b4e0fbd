import Foundation
import Testing

@testable import AttentionServer

@Suite final class `The page's files` {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
        "page-\(UUID().uuidString)")

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func write(_ text: String, to path: String) throws {
        let place = folder.appendingPathComponent(path)
        try FileManager.default.createDirectory(
            at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: place)
    }

    @Test(arguments: [
        "bin/swift-attention_AttentionServer.resources/page", "share/swift-attention/page",
        "bin/swift-attention_AttentionServer.bundle/Contents/Resources/page",
    ])
    func `are found around the executable`(place: String) throws {
        try write("<!doctype html>", to: "\(place)/index.html")
        try write("export {};", to: "\(place)/views/word.js")
        try write("secret", to: "\(place)/notes.txt")
        let resources = try PageResources(
            environment: [:], executable: folder.appendingPathComponent("bin/attend"))
        #expect(Set(resources.files.keys) == ["/", "/index.html", "/views/word.js"])
        #expect(resources.files["/views/word.js"]?.contentType == "text/javascript; charset=utf-8")
    }

    @Test func `are found through a link to the executable`() throws {
        try write("<!doctype html>", to: "real/swift-attention_AttentionServer.resources/page/index.html")
        try write("", to: "real/attend")
        try FileManager.default.createSymbolicLink(
            at: folder.appendingPathComponent("attend"),
            withDestinationURL: folder.appendingPathComponent("real/attend"))
        _ = try PageResources(environment: [:], executable: folder.appendingPathComponent("attend"))
    }

    @Test func `are taken from where the environment says first`() throws {
        try write("first", to: "here/page/index.html")
        try write("second", to: "bin/swift-attention_AttentionServer.resources/page/index.html")
        let resources = try PageResources(
            environment: ["ATTENTION_RESOURCES": folder.appendingPathComponent("here").path],
            executable: folder.appendingPathComponent("bin/attend"))
        #expect(resources.files["/"].map { String(decoding: $0.bytes, as: UTF8.self) } == "first")
    }

    @Test func `where they are missing, all places are listed`() {
        let error = #expect(throws: PageResources.NotFound.self) {
            try PageResources(
                environment: ["ATTENTION_RESOURCES": "/nowhere"],
                executable: self.folder.appendingPathComponent("attend"))
        }
        let text = error?.description ?? ""
        for part in ["/nowhere/page", "share/swift-attention", "ATTENTION_RESOURCES", folder.path] {
            #expect(text.contains(part))
        }
    }
}
