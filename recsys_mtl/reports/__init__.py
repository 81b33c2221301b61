"""What a job leaves for people and programs.

    output.envelope, write_result    the head of result.json, and its file
    page.Page                        text, tables and pictures for a terminal, Markdown and HTML
    document.document                a self-contained HTML page of sections with charts
    charts, svg.Chart                ready-made charts as SVG; one drawn element by element
    cells                            numbers, intervals and differences in the cells of tables
    report.Report                    a page and its numbers together
    results.ResultTable              a model's metrics next to others, as a table

What has a `show` prints when that is called, and only then.
"""
