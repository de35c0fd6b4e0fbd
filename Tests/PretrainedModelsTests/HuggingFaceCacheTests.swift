import Foundation
import PretrainedModels
import TestSupport
import Testing

/// What is expected here is what the Python package `huggingface_hub` (1.x) answers for the same environments and names.
@Suite struct `Hugging Face's cache` {
    @Test(arguments: [
        ([:], "/house/me/.cache/huggingface/hub"),
        (["XDG_CACHE_HOME": "/c"], "/c/huggingface/hub"),
        (["XDG_CACHE_HOME": "c"], "c/huggingface/hub"),
        (["XDG_CACHE_HOME": ""], "huggingface/hub"),
        (["HF_HOME": "/h"], "/h/hub"),
        (["HF_HOME": "~/h"], "/house/me/h/hub"),
        (["HF_HOME": "$BASE/h"], "/base/h/hub"),
        (["HF_HOME": "${BASE}/h$NONE/${NONE}"], "/base/h$NONE/${NONE}/hub"),
        (["HF_HOME": ""], "hub"),
        (["HF_HOME": "/h/"], "/h/hub"),
        (["HF_HUB_CACHE": "/k"], "/k"),
        (["HF_HUB_CACHE": "~"], "/house/me"),
        (["HF_HUB_CACHE": "k/$BASE"], "k//base"),
        (["HUGGINGFACE_HUB_CACHE": "/l", "HF_HOME": "/h"], "/l"),
        (["HUGGINGFACE_HUB_CACHE": "~/l"], "/house/me/l"),
        (["HF_HUB_CACHE": "", "HF_HOME": "/h"], ""),
        (["HF_HUB_CACHE": "/k", "HUGGINGFACE_HUB_CACHE": "/l", "HF_HOME": "/h", "XDG_CACHE_HOME": "/c"], "/k"),
        (["HF_HOME": "$", "XDG_CACHE_HOME": "/c"], "$/hub"),
        (["HF_HOME": "/a$-b${", "XDG_CACHE_HOME": "/c"], "/a$-b${/hub"),
        (["HF_HOME": "~nobodyatall/x"], "~nobodyatall/x/hub"),
        (["HOME": "/"], "/.cache/huggingface/hub"),
        (["HOME": "/me/"], "/me/.cache/huggingface/hub"),
        (["HF_HOME": "/h$é"], "/h$é/hub"),
    ])
    func `is where Python looks for it`(changes: [String: String], expected: String) {
        let environment = ["HOME": "/house/me", "BASE": "/base"].merging(changes) { $1 }
        #expect(HuggingFaceCache(environment: environment).folder == expected, "\(changes)")
    }

    @Test(arguments: [
        ("gpt2", true), ("a/b", true), ("a", true), ("a-b/c.d_e", true), ("-a/b", false), ("a-/b", false),
        ("a/.b", false), ("a/b.", false), ("a/b.git", false), ("a--b/c", false), ("a/b--c", false), ("a..b", false),
        ("a/b/c", false), ("", false), ("/b", false), ("a/", false), ("é/b", false), ("a b/c", false),
        (String(repeating: "x", count: 96), true), (String(repeating: "x", count: 97), false),
        ("o/" + String(repeating: "x", count: 96), true), ("o/" + String(repeating: "x", count: 97), false),
        ("_a/b_", true), ("a/b\n", false), ("datasets/x", true),
    ])
    func `takes the names that Python takes`(name: String, isTaken: Bool) {
        #expect((HuggingFaceCache.Reference(name) != nil) == isTaken, "\(name)")
    }

    @Test(arguments: [
        "o/n:../x", "o/n:a/../x", "o/n:/x", "o/n:", "o/n:a//b", "o/n:./x", "o/n:a\\..\\x", "o/n:a\0b", "o/n@..", "o/n@",
        "o/n@../../x", "../n", "o/..", "/etc/passwd",
    ])
    func `follows no name out of a repository`(name: String) {
        #expect(HuggingFaceCache.Reference(name) == nil)
    }

    @Test func `finds what Python fetched, by its links`() throws {
        let folder = "\(TestEnvironment.temporaryFolder)/hugging-face-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let repository = "\(folder)/hub/models--o--n"
        let files = FileManager.default
        for name in ["blobs", "refs/pr", "snapshots/c0ffee/sub", "snapshots/beef"] {
            try files.createDirectory(atPath: "\(repository)/\(name)", withIntermediateDirectories: true)
        }
        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(repository)/\(name)"))
        }
        try write("refs/main", "c0ffee")
        try write("refs/old", "beef")
        // A file that says to go elsewhere is not followed.
        try write("refs/evil", "../../../..")
        try write("blobs/1234", "weights")
        try files.createSymbolicLink(
            atPath: "\(repository)/snapshots/c0ffee/a.gguf", withDestinationPath: "../../blobs/1234")
        try files.createSymbolicLink(
            atPath: "\(repository)/snapshots/c0ffee/sub/b.gguf", withDestinationPath: "../../../blobs/1234")
        try write("snapshots/beef/config.json", "{}")

        let locator = ModelLocator(environment: ["HOME": "/absent", "HF_HOME": folder])
        let snapshots = "\(repository)/snapshots"
        for (name, expected) in [
            ("o/n", "\(snapshots)/c0ffee/a.gguf"), ("o/n:a.gguf", "\(snapshots)/c0ffee/a.gguf"),
            ("o/n:sub/b.gguf", "\(snapshots)/c0ffee/sub/b.gguf"), ("o/n@old", "\(snapshots)/beef"),
            ("o/n@c0ffee:a.gguf", "\(snapshots)/c0ffee/a.gguf"),
        ] {
            #expect(try locator.path(of: name) == expected)
        }
        for (name, tried) in [
            ("o/absent", "models--o--absent/snapshots/main"), ("o/n:absent", "\(snapshots)/c0ffee/absent"),
            ("o/n@evil", "\(snapshots)/evil"),
        ] {
            let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: name) }
            #expect(error?.description.contains(tried) == true && error?.description.contains("fetch-model") == true)
        }
        #expect(locator.models().map(\.name) == ["o/n:a.gguf"])
        try files.removeItem(atPath: "\(repository)/refs/main")
        try files.removeItem(atPath: "\(snapshots)/c0ffee")
        #expect(locator.models().map(\.name) == ["o/n@beef"])
    }
}
