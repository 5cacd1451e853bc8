from agents.storage.folder_name import folder_name


def test_different_names_have_different_folders():
    names = [
        "search-once",
        "runs/a",
        "runs-a",
        "runs:a",
        "/runs/a",
        "a" * 200,
        "..",
        "b" * 100 + "/",
        "한" * 300,
    ]
    folders = [folder_name(name) for name in names]
    assert folders[0] == "search-once" and len(set(folders)) == len(names)
    assert all("/" not in name and not name.startswith(".") for name in folders)
    assert max(len(name.encode()) for name in folders) <= 255  # the limit of file systems
